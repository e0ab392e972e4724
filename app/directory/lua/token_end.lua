-- Change a token's record, if it is still the one that was read.
--
-- KEYS[1]  scim:{t}:seq
-- ARGV     1 id   2 record as it was read   3 record as it is from now on
-- Reply    1, or 0 if the token has changed or gone meanwhile

local key = prefix .. 'tokens'
if redis.call('HGET', key, ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', key, ARGV[1], ARGV[3])
return 1
