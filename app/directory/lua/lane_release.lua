-- Hand the lane back with work left (shutdown, pause); it stays dirty for the next worker.
-- ARGV   2 epoch
-- Reply  1, or 0 if it was gone already

if not is_mine(ARGV[2]) then return 0 end
give_back()
set_state(redis.call('HGET', lane, 'paused') == '1' and 'paused' or 'idle')
return 1
