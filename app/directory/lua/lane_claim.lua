-- Take the look for drift that is due: of all workers that see it one does it.
-- ARGV   2 when the last one was, ms since 1970   3 now, by whoever asks
-- Reply  1, or 0 if somebody has taken it

if redis.call('HGET', lane, 'resynced') ~= ARGV[2] then return 0 end
redis.call('HSET', lane, 'resynced', ARGV[3])
return 1
