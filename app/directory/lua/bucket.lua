-- Take from the tenant's bucket of requests, which all receivers share.
--
-- KEYS[1]  scim:{t}:seq
-- ARGV     1 how many come back each second   2 how many it holds   3 how many are wanted
--          4 how far it may be emptied: 0, or below for requests that have to get through
-- Reply    {how many were taken, ms until there is one again where none was}

local bucket = prefix .. 'bucket'
local rate, most, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local at = now_ms()
local kept = redis.call('HMGET', bucket, 'level', 'at')
local level, since = tonumber(kept[1] or most), tonumber(kept[2] or at)
level = math.min(most, level + math.max(0, at - since) * rate / 1000)
local taken = math.min(wanted, math.floor(level - tonumber(ARGV[4])))
if taken < 1 then return {0, math.ceil((1 - (level - tonumber(ARGV[4]))) * 1000 / rate)} end
redis.call('HSET', bucket, 'level', tostring(level - taken), 'at', string.format('%.0f', at))
redis.call('EXPIRE', bucket, 3600)
return {taken, 0}
