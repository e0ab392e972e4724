-- Note what a tenant's identity provider did during the last seconds.
-- ARGV   1, 2 first and last request (ms)   3 writes that were done   4 writes that were refused
--        5 the first refused one (ms)   6 shortest silence that counts (ms)   7 days that are kept
-- `activity` has: since, last (ms); failed, failing (ms): writes refused since one was done.
-- `silences` has the longest silence that ended on each day, by the day's number since 1970.

local activity, silences = prefix .. 'activity', prefix .. 'silences'
local first, last = tonumber(ARGV[1]), tonumber(ARGV[2])

redis.call('HSETNX', activity, 'since', ARGV[1])
redis.call('HSETNX', activity, 'last', ARGV[1])
local before = tonumber(redis.call('HGET', activity, 'last'))
local silence = first - before
local today = math.floor(first / 86400000)
if silence >= tonumber(ARGV[6]) then
  local longest = tonumber(redis.call('HGET', silences, today) or '0')
  if silence > longest then redis.call('HSET', silences, today, string.format('%.0f', silence)) end
  for _, day in ipairs(redis.call('HKEYS', silences)) do
    if tonumber(day) <= today - tonumber(ARGV[7]) then redis.call('HDEL', silences, day) end
  end
end
if last > before then redis.call('HSET', activity, 'last', ARGV[2]) end
if ARGV[3] ~= '0' then
  redis.call('HDEL', activity, 'failed', 'failing')
elseif ARGV[4] ~= '0' then
  redis.call('HINCRBY', activity, 'failed', ARGV[4])
  redis.call('HSETNX', activity, 'failing', ARGV[5])
end
return 1
