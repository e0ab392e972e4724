-- What every committing script begins with; `scripts.py` puts it in front of them.
-- KEYS[1] is always the tenant's `scim:{t}:seq`; the other keys share its prefix and hash slot.

local prefix = string.sub(KEYS[1], 1, -4)

-- While a Redis Cluster moves the tenant's slot key by key, a key that is missing here may be on the
-- other node, and a script would stop half-way. So it stops before it has begun.
local whole = redis.pcall('EXISTS', prefix .. 'nothing')
if type(whole) == 'table' then return redis.error_reply('TRYAGAIN the slot is being moved') end

-- The zsets of all kinds of resources (KINDS in keys.py), the most frequent kind first.
local orders = {'users', 'groups', 'agents', 'applications'}

-- Large lists go to Redis in batches: each call costs, and Lua can pass some 8,000 arguments.
local batch = 1000

-- A change of more members than this is made in steps, so that Redis answers others in between
-- (`LARGE` in staging.py). While `unsettled` has a group, `memberof` and `pending` may name it for
-- ids that are no members of it: `members:GROUP` alone says who is one.
local large = 1000
local unsettled = prefix .. 'unsettled'

local function in_batches(list, send)
  for first = 1, #list, batch do
    send(first, math.min(first + batch - 1, #list))
  end
end

-- Returns those of `ids` that no resource has.
local function unknown_among(ids)
  for _, order in ipairs(orders) do
    local left = {}
    in_batches(ids, function(first, last)
      local scores = redis.call('ZMSCORE', prefix .. order, unpack(ids, first, last))
      for at = first, last do
        if not scores[at - first + 1] then left[#left + 1] = ids[at] end
      end
    end)
    ids = left
  end
  return ids
end

-- `pending` has a member of a group for as long as no resource has its id.
local function await_members(group, ids, at)
  local unknown = unknown_among(ids)
  in_batches(unknown, function(first, last)
    local entries = {}
    for each = first, last do
      entries[#entries + 1] = at
      entries[#entries + 1] = group .. '\0' .. unknown[each]
    end
    redis.call('ZADD', prefix .. 'pending', 'NX', unpack(entries))
  end)
end

local function forget_pending(group, ids)
  if #ids == 0 or redis.call('EXISTS', prefix .. 'pending') == 0 then return end
  in_batches(ids, function(first, last)
    local entries = {}
    for at = first, last do entries[#entries + 1] = group .. '\0' .. ids[at] end
    redis.call('ZREM', prefix .. 'pending', unpack(entries))
  end)
end

-- A stored resource is `header\ndocument`; the header is JSON of numbers and strings only:
--   v  seq of the last change, members included (meta.version)
--   d  seq of the last change of the document (what a write compares and swaps on)
--   c, m  created and last modified, ms;  n  folded name;  x  externalId or ""
local function split(raw)
  local at = string.find(raw, '\n', 1, true)
  return cjson.decode(string.sub(raw, 1, at - 1)), string.sub(raw, at + 1)
end

-- The keys of the header have one order, so that a directory which is rebuilt is the same bytes.
local function store(key, header, document)
  local head = string.format('{"v":%.0f,"d":%.0f,"c":%.0f,"m":%.0f,"n":%s,"x":%s}\n', header.v,
    header.d, header.c, header.m, cjson.encode(header.n), cjson.encode(header.x))
  redis.call('SET', key, head .. document)
end

-- Redis's clock, so that times grow with seq whichever receiver commits.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Returns the large change of the group's members that is under way or still to be cleaned up, or
-- nil. `token`: whose it is, '' once it is decided. `live`: its writer was heard of lately.
-- `held`: others have to wait for it. `from`: the last seq when it was begun; the score of those who
-- come is between this and the next one, until they get that of their event, `to`; `at`: its time.
local function stage_of(group)
  local raw = redis.call('HGET', unsettled, group)
  if not raw then return nil end
  local token, till, held, from, to, at = string.match(raw, '^(%S*) (%d+) (%d) (%d+) (%d+) (%d+)$')
  return {token = token, till = tonumber(till), live = tonumber(till) > now_ms(), held = held == '1',
    from = tonumber(from), to = tonumber(to), at = tonumber(at)}
end

local function set_stage(group, token, till, held, from, to, at)
  redis.call('HSET', unsettled, group,
    string.format('%s %.0f %s %.0f %.0f %.0f', token, till, held, from, to, at))
end

-- Takes `group` from the groups of `ids`, which have left it. Returns those who are staged to be
-- in it: their entries stay, since no step comes to them again.
local function leave(group, ids)
  local gone, staged = ids, {}
  if redis.call('HEXISTS', unsettled, group) == 1 then
    gone = {}
    in_batches(ids, function(first, last)
      local scores = redis.call('ZMSCORE', prefix .. 'staged:' .. group, unpack(ids, first, last))
      for at = first, last do
        local list = scores[at - first + 1] and staged or gone
        list[#list + 1] = ids[at]
      end
    end)
  end
  for _, id in ipairs(gone) do redis.call('SREM', prefix .. 'memberof:' .. id, group) end
  forget_pending(group, gone)
  return staged
end

-- Puts the group's members aside, in one moment however many they are; `settle` cleans up.
local function set_members_aside(group)
  local members = prefix .. 'members:' .. group
  if redis.call('EXISTS', members) == 1 then
    redis.call('RENAME', members, prefix .. 'left:' .. group)
  end
end

-- Returns the groups that have this member.
local function groups_of(member)
  local groups = redis.call('SMEMBERS', prefix .. 'memberof:' .. member)
  if #groups == 0 or redis.call('EXISTS', unsettled) == 0 then return groups end
  local held = {}
  for _, group in ipairs(groups) do
    if redis.call('HEXISTS', unsettled, group) == 0
      or redis.call('ZSCORE', prefix .. 'members:' .. group, member) then
      held[#held + 1] = group
    end
  end
  return held
end

-- Appends the event with the next seq and marks the lanes. Returns the targets whose lane was
-- clean before, as JSON: only these need a wake-up. Entry ids are `seq-0`, so XADD itself refuses
-- a seq that does not grow. `losing`: ids that may lose access by it; a lane that has other work
-- before it takes that from them out of turn (`express`). More than `most_losing` go in turn: that
-- is no leaver, and the list must stay short.
local most_losing = 100

local function append(seq, at, targets, fields, losing)
  fields[#fields + 1] = 'at'
  fields[#fields + 1] = string.format('%.0f', at)
  redis.call('XADD', prefix .. 'events', string.format('%.0f-0', seq), unpack(fields))
  local woken = {}
  for _, target in ipairs(cjson.decode(targets)) do
    if redis.call('HSETNX', prefix .. 'dirty', target, string.format('%.0f', at)) == 1 then
      woken[#woken + 1] = target
    end
    if #losing <= most_losing then
      for _, id in ipairs(losing) do redis.call('ZADD', prefix .. 'express:' .. target, seq, id) end
    end
  end
  return #woken == 0 and '[]' or cjson.encode(woken)
end

-- An exact look-up may find several ids (externalId is the client's, RFC 7643 §3.1), even those of
-- everybody, where a mapping sends a constant: one zset of `value NUL id`, ordered by bytes. No
-- value holds NUL.
local function unindex(key, value, id)
  if value ~= '' then redis.call('ZREM', key, value .. '\0' .. id) end
end

local function index(key, value, id)
  if value ~= '' then redis.call('ZADD', key, 0, value .. '\0' .. id) end
end

local function array(list)
  return #list == 0 and '[]' or cjson.encode(list)
end

-- Adds what is not in every event: what only the ledger asks for (`asker`: JSON of who asked, from
-- where; '' without a ledger), and the request's `trace`, if it has one.
local function tell(fields, asker, before, after, trace)
  if trace and trace ~= '' then
    fields[#fields + 1] = 'trace'
    fields[#fields + 1] = trace
  end
  if asker == '' then return fields end
  for _, text in ipairs({'asker', asker, 'before', before, 'after', after}) do
    fields[#fields + 1] = text
  end
  return fields
end
