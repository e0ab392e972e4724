-- A batch is on the target: move the cursor, remember names and roles, park or free resources.
--
-- ARGV   2 epoch   3 seq that is now applied
--        4, 5 resync: the position it began at, the one it reached ('' = not part of this batch)
--        6 JSON {"names": {id: name | false}, "done": {id: asked}, "letters": {id: letter | false},
--                "roles": {role: definition | false}, "secrets": {id: digest | false},
--                "settled": [name], "held": {id: loss | false}, "spent": [id], "run": text | false,
--                "ahead": {id: seq}}
--                letters, definitions, losses and the run are JSON texts; settled: intents that
--                are over; spent: ids whose confirmed loss, if there was one, is on the target;
--                ahead: revocations that were done out of turn
--        7… what the ledger is to hear of the batch, as _facts.lua has it; nothing without a ledger
-- Reply  1, or 0 if the lease is gone (only the facts are written; the next holder does the batch again)
-- An id that was asked for again after this batch read it stays on the to-do list.

if ARGV[7] then keep_facts(7) end
if not is_mine(ARGV[2]) then return 0 end
local batch = cjson.decode(ARGV[6])
local function each(part, put, drop)
  for field, value in pairs(part) do
    if value then put(field, value) else drop(field) end
  end
end
local names, holders = prefix .. 'names:' .. target, prefix .. 'holders:' .. target
local letters, roles = prefix .. 'letters:' .. target, prefix .. 'roles:' .. target
local todo, intents = prefix .. 'todo:' .. target, prefix .. 'intents:' .. target
local function leave(id, name)
  local old = redis.call('HGET', names, id)
  if old and old ~= name and redis.call('HGET', holders, old) == id then
    redis.call('HDEL', holders, old)
  end
end
each(batch.names,
  function(id, name)
    leave(id, name)
    redis.call('HSET', names, id, name)
    redis.call('HSET', holders, name, id)
  end,
  function(id)
    leave(id)
    redis.call('HDEL', names, id)
  end)
each(batch.letters,
  function(id, letter) redis.call('HSET', letters, id, letter) end,
  function(id) redis.call('HDEL', letters, id) end)
each(batch.roles,
  function(role, definition) redis.call('HSET', roles, role, definition) end,
  function(role) redis.call('HDEL', roles, role) end)
local secrets = prefix .. 'secrets:' .. target
each(batch.secrets,
  function(id, digest) redis.call('HSET', secrets, id, digest) end,
  function(id) redis.call('HDEL', secrets, id) end)
local held = prefix .. 'held:' .. target
each(batch.held,
  function(id, loss) redis.call('HSET', held, id, loss) end,
  function(id) redis.call('HDEL', held, id) end)
if redis.call('EXISTS', held) == 0 then redis.call('HDEL', lane, 'blocked', 'blocked_since') end
for _, id in ipairs(batch.spent) do redis.call('SREM', prefix .. 'allowed:' .. target, id) end
if batch.run then redis.call('SET', prefix .. 'run:' .. target, batch.run, 'EX', 3600) end
for _, name in ipairs(batch.settled) do redis.call('HDEL', intents, name) end
for id, asked in pairs(batch.done) do
  if tonumber(redis.call('ZSCORE', todo, id) or '-1') == asked then redis.call('ZREM', todo, id) end
end
local express = prefix .. 'express:' .. target
for id, seq in pairs(batch.ahead) do
  if tonumber(redis.call('ZSCORE', express, id) or '-1') == seq then redis.call('ZREM', express, id) end
end
if tonumber(ARGV[3]) > cursor() then
  redis.call('HSET', lane, 'cursor', ARGV[3])
  redis.call('ZREMRANGEBYSCORE', express, '-inf', ARGV[3])
end
-- Somebody may have asked for a resync from the front meanwhile: that one stays.
if ARGV[4] ~= '' and redis.call('HGET', lane, 'resync') == ARGV[4] then
  if ARGV[5] == 'done' then redis.call('HDEL', lane, 'resync', 'missed', 'unmarked')
  else redis.call('HSET', lane, 'resync', ARGV[5]) end
end
redis.call('HDEL', lane, 'error', 'next', 'attempts')
set_state('draining')
-- What is left of the lane's lag is younger than this batch: the next event's own time.
local next_seq = string.format('%.0f-0', cursor() + 1)
local entry = redis.call('XRANGE', prefix .. 'events', next_seq, next_seq)[1]
if entry then
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'at' then redis.call('HSET', prefix .. 'dirty', target, entry[2][i + 1]) end
  end
end
return 1
