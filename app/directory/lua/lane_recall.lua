-- Put the suspects whose time has come on the to-do list.
-- ARGV   2 how many at most
-- Reply  how many were put there

local suspects, todo = prefix .. 'suspects:' .. target, prefix .. 'todo:' .. target
local due = redis.call('ZRANGEBYSCORE', suspects, '-inf', now_ms(), 'LIMIT', 0, ARGV[2])
for _, id in ipairs(due) do
  redis.call('ZREM', suspects, id)
  redis.call('ZADD', todo, redis.call('HINCRBY', lane, 'asked', 1), id)
end
if #due > 0 then redis.call('HSETNX', prefix .. 'dirty', target, now_ms()) end
return #due
