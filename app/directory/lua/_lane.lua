-- What every script about one lane begins with.
-- KEYS[1]  scim:{t}:seq      ARGV[1]  target
-- A lease is a string with an expiry whose value is the epoch of its holder.

local prefix, target = string.sub(KEYS[1], 1, -4), ARGV[1]
local lane = prefix .. 'lane:' .. target
local lease = prefix .. 'lease:' .. target

-- While a Redis Cluster moves the tenant's slot key by key, a key that is missing here may be on the
-- other node, and a script would stop half-way. So it stops before it has begun.
local whole = redis.pcall('EXISTS', prefix .. 'nothing')
if type(whole) == 'table' then return redis.error_reply('TRYAGAIN the slot is being moved') end

local function now_ms()
  local time = redis.call('TIME')
  return string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
end

local function seq()
  return tonumber(redis.call('GET', KEYS[1]) or '0')
end

local function cursor()
  return tonumber(redis.call('HGET', lane, 'cursor') or '0')
end

local function is_mine(epoch)
  return redis.call('GET', lease) == epoch
end

local function give_back()
  redis.call('DEL', lease)
  redis.call('HDEL', lane, 'holder')
end

local function set_state(state)
  if redis.call('HGET', lane, 'state') ~= state then
    redis.call('HSET', lane, 'state', state, 'since', now_ms())
  end
end

-- The ledger is told of groups by their events; what became of them without one it is told again.
local function state_groups()
  local stated = redis.call('HGET', prefix .. 'lane:+ledger', 'stated')
  if stated and string.sub(stated, 1, 5) ~= 'user:' then
    redis.call('HSET', prefix .. 'lane:+ledger', 'stated', 'group:0')
  end
end
