-- Keep a new token, if its tenant has not as many of its kind already as it may have.
--
-- KEYS[1]  scim:{t}:seq
-- ARGV     1 id   2 record (JSON)   3 now, ms   4 scopes of the token, joined   5 most
--          6 id of the token that it takes the place of ('' = none)   7 that one's record as it was
--          read   8 the same as it is from now on
-- Reply    'ok', 'many', or 'stale' if the other token has changed or gone meanwhile
-- Those that have ended, or have a successor, do not count.

local key, count = prefix .. 'tokens', 0
if ARGV[6] ~= '' and redis.call('HGET', key, ARGV[6]) ~= ARGV[7] then return 'stale' end
local now = tonumber(ARGV[3])
for _, raw in ipairs(redis.call('HVALS', key)) do
  local token = cjson.decode(raw)
  local ends, successor = token.expires_ms, token.replaced_by
  local is_over = type(ends) == 'number' and ends <= now
  local is_replaced = type(successor) == 'string' and successor ~= ''
  if token.id ~= ARGV[6] and not is_over and not is_replaced
    and table.concat(token.scopes, ' ') == ARGV[4] then
    count = count + 1
  end
end
if count >= tonumber(ARGV[5]) then return 'many' end
redis.call('HSET', key, ARGV[1], ARGV[2])
if ARGV[6] ~= '' then redis.call('HSET', key, ARGV[6], ARGV[8]) end
return 'ok'
