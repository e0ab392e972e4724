-- Note in the ledger's lane how far it is: before a block is sent where it ends, after it that it is
-- there.
-- ARGV   2 epoch   3 JSON {field: text | false}: fields of the lane to set or to remove
--        4 id of the last fact that the ledger has by now, '' for none: facts up to it go
-- Reply  1, or 0 if the lease is gone: nothing may be sent

if not is_mine(ARGV[2]) then return 0 end
for field, value in pairs(cjson.decode(ARGV[3])) do
  if value then redis.call('HSET', lane, field, value) else redis.call('HDEL', lane, field) end
end
if ARGV[4] ~= '' then
  local ms, number = string.match(ARGV[4], '^(%d+)-(%d+)$')
  local next_id = ms .. '-' .. string.format('%.0f', tonumber(number) + 1)
  redis.call('XTRIM', prefix .. 'facts', 'MINID', next_id)
end
redis.call('HDEL', lane, 'error', 'next', 'attempts')
return 1
