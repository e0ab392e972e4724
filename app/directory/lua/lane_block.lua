-- Say why the lane holds something, for as long as it does.
-- ARGV   2 epoch   3 reason
-- Reply  1, or 0 if the lease is gone

if not is_mine(ARGV[2]) then return 0 end
if redis.call('EXISTS', prefix .. 'held:' .. target) == 1 then
  redis.call('HSET', lane, 'blocked', ARGV[3])
  redis.call('HSETNX', lane, 'blocked_since', now_ms())
end
return 1
