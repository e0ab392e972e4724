-- Events that this lane has not applied are gone from the log, or its target has lost the marker role:
-- have it go through the whole directory.
-- ARGV   2 epoch   3 what to tell until that is done   4 '1' if it is the marker
-- Reply  1, or 0 if the lease is gone
-- The cursor is never beyond the last event: the next ones would be passed over.

if not is_mine(ARGV[2]) then return 0 end
if cursor() > seq() then redis.call('HSET', lane, 'cursor', string.format('%.0f', seq())) end
local front = '0.' .. redis.call('HINCRBY', lane, 'asked', 1)
redis.call('HSET', lane, 'missed', ARGV[3], 'resync', front, 'resynced', now_ms())
if ARGV[4] == '1' then redis.call('HSET', lane, 'unmarked', '1') end
return 1
