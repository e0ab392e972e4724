-- Put the suspects whose time has come, and those whose validity has ended, on the to-do list.
-- ARGV   2 how many of each at most
-- Reply  how many were put there

local todo, recalled = prefix .. 'todo:' .. target, 0
for _, part in ipairs({'suspects:', 'ends:'}) do
  local key = prefix .. part .. target
  local due = redis.call('ZRANGEBYSCORE', key, '-inf', now_ms(), 'LIMIT', 0, ARGV[2])
  for _, id in ipairs(due) do
    redis.call('ZREM', key, id)
    redis.call('ZADD', todo, redis.call('HINCRBY', lane, 'asked', 1), id)
  end
  recalled = recalled + #due
end
if recalled > 0 then redis.call('HSETNX', prefix .. 'dirty', target, now_ms()) end
return recalled
