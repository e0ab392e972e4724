-- Put work on a lane that no event brings: resources to look at again, or all of them.
-- ARGV   2 resource ids (JSON array)   3 '1' to go through the whole directory   4 configuration's
--        digest, '' to leave it
-- Reply  1 if the lane was clean before (somebody has to be woken), else 0
-- A resync that is under way starts again from the front.

for _, id in ipairs(cjson.decode(ARGV[2])) do
  redis.call('ZADD', prefix .. 'todo:' .. target, redis.call('HINCRBY', lane, 'asked', 1), id)
end
if ARGV[3] == '1' then
  -- Numbered, so that a holder at the very front can tell this request from the one before it.
  local front = '0.' .. redis.call('HINCRBY', lane, 'asked', 1)
  redis.call('HSET', lane, 'resync', front, 'resynced', now_ms())
end
if ARGV[4] ~= '' then redis.call('HSET', lane, 'config', ARGV[4]) end
return redis.call('HSETNX', prefix .. 'dirty', target, now_ms())
