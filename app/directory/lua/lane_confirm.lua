-- Let losses that are held through: these people are looked at again, and nothing holds them then.
-- ARGV   2 resource ids (JSON array)   3 '1' to go through the whole directory, for users that no
--        resource is behind
-- Reply  how many were held
-- What was taken lately is forgotten: an operator has seen it.

local held, confirmed = prefix .. 'held:' .. target, 0
for _, id in ipairs(cjson.decode(ARGV[2])) do
  if redis.call('HDEL', held, id) == 1 then
    confirmed = confirmed + 1
    redis.call('SADD', prefix .. 'allowed:' .. target, id)
    redis.call('ZADD', prefix .. 'todo:' .. target, redis.call('HINCRBY', lane, 'asked', 1), id)
  end
end
if redis.call('EXISTS', held) == 0 then redis.call('HDEL', lane, 'blocked', 'blocked_since') end
redis.call('DEL', prefix .. 'run:' .. target)
if ARGV[3] == '1' then
  redis.call('HSET', lane, 'resync', '0.' .. redis.call('HINCRBY', lane, 'asked', 1))
end
if confirmed > 0 then redis.call('HSETNX', prefix .. 'dirty', target, now_ms()) end
return confirmed
