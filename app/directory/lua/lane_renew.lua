-- Hold the lane for longer.
-- ARGV   2 epoch   3 lease, ms
-- Reply  1, or 0 if the lease is gone: the caller writes nothing more

if not is_mine(ARGV[2]) then return 0 end
redis.call('PEXPIRE', lease, ARGV[3])
return 1
