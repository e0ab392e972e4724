-- Hand the lane back until its target may answer again; it stays dirty.
-- ARGV   2 epoch   3 error   4 pause before the next attempt, ms   5 attempts so far
-- Reply  1, or 0 if the lease is gone

if not is_mine(ARGV[2]) then return 0 end
local next_at = string.format('%.0f', tonumber(now_ms()) + tonumber(ARGV[4]))
redis.call('HSET', lane, 'error', ARGV[3], 'next', next_at, 'attempts', ARGV[5])
give_back()
set_state('backing-off')
return 1
