-- Take events from the log that nobody needs any more, the oldest first.
--
-- KEYS[1]  scim:{t}:seq
-- ARGV     1 lanes whose cursors count (JSON array)   2 lanes that are waited for however far they
--          are behind (JSON array)   3 ms since 1970: events since then stay
--          4 how many events wait at most for one of the former   5 how many to look at
-- Reply    how many were taken
-- A lane of the first kind that finds a gap before it goes through the whole directory instead.

local function cursor_of(target)
  return tonumber(redis.call('HGET', prefix .. 'lane:' .. target, 'cursor') or '0')
end

local seq = tonumber(redis.call('GET', KEYS[1]) or '0')
local last = seq
for _, target in ipairs(cjson.decode(ARGV[1])) do last = math.min(last, cursor_of(target)) end
last = math.max(last, seq - tonumber(ARGV[4]))
for _, target in ipairs(cjson.decode(ARGV[2])) do last = math.min(last, cursor_of(target)) end
local trimmed, first_kept = 0, nil
for _, entry in ipairs(redis.call('XRANGE', prefix .. 'events', '-', '+', 'COUNT', ARGV[5])) do
  local number, at = tonumber(string.match(entry[1], '^%d+')), 0
  for each = 1, #entry[2], 2 do
    if entry[2][each] == 'at' then at = tonumber(entry[2][each + 1]) end
  end
  if number > last or (at >= tonumber(ARGV[3]) and number > seq - tonumber(ARGV[4])) then break end
  trimmed, first_kept = trimmed + 1, number + 1
end
if first_kept then
  redis.call('XTRIM', prefix .. 'events', 'MINID', string.format('%.0f-0', first_kept))
end
return trimmed
