-- Create or change one resource: document, indexes, uniqueness, members, links, event, dirty lanes.
--
-- KEYS[1]  scim:{t}:seq
-- ARGV     1 kind (KINDS in keys.py)  2 id
--          3 expect: 'new', or the document version that the change was computed from
--          4 document ('' = unchanged; then `expect` matters only to a link, which needs the name)
--          5 folded name   6 externalId or ''
--          7 members as JSON: {"replace": [...] or false, "add": [...], "remove": [...]}
--          8 name as sent  9 targets (JSON array)
--         10 role-map keys of this group (JSON array); `like`: it gives something for its name
--         11 request id   12 token id   13 request digest
--         14 secret ('' = unchanged, '-' = none from now on)  15 the kind's name attribute
--         16 version that the resource must have, members included ('' = any)
--         17 who asked, as JSON, for the ledger ('' = there is none: the event has no documents)
--         18 version at which the members were read that the change was computed from ('' = none)
--         19 token of the stage that holds the members from now on ('' = ARGV 7 is the change)
--         20, 21 with a stage: who comes and who leaves, for the event (JSON arrays)
--         22 '1': a creation whose client has no answer yet   23 trace of the request, or ''
-- Reply    {'ok', seq, created ms, modified ms, targets to wake (JSON)}
--          {'same', version, created ms, modified ms}   nothing changed, no event
--          {'taken', id of the holder, age}  the name belongs to another resource. age, ms: since
--                when the same request has made that one without being answered yet, -1 if not
--          {'stale'}                       changed meanwhile: read again
--          {'gone'}                        no such resource
--          {'circle', id}                  that member is this group, or this group lies below it
--          {'deep'}                        too many groups lie above this one to look at them all
--          {'held'}      another change of this group's members has to end first: wait, ask again
--          {'moved'}     the members changed since they were read, or the stage is gone: compute anew
--          {'large'}     so many members may change that it has to be computed before and staged
-- Invariant: every refusal comes before the first write.

local kind, id, expect, document = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local name, external_id = ARGV[5], ARGV[6]
local key = prefix .. kind .. ':' .. id
local secret = ARGV[14]
local names = prefix .. kind .. 's:' .. ARGV[15]
local externals = prefix .. kind .. 's:externalId'

local stage = kind == 'group' and stage_of(id) or nil
local is_staged = ARGV[19] ~= ''
if stage and stage.live and stage.held and stage.token ~= ARGV[19] then return {'held'} end

-- A role-map key belongs to the first group that matched it and stays its own through renames.
-- The map may be younger than the group: then an update without a change still links it.
-- A group that gives something for its name is read under the first such name, in the same way.
local unlinked = {}
for _, link in ipairs(cjson.decode(ARGV[10])) do
  local known
  if link == 'like' then
    known = redis.call('HEXISTS', prefix .. 'likes', 'id:' .. id) == 1
      or redis.call('HEXISTS', prefix .. 'likes', 'name:' .. name) == 1
  else known = redis.call('HEXISTS', prefix .. 'links', link) == 1 end
  if not known then unlinked[#unlinked + 1] = link end
end

local raw = redis.call('GET', key)
local old, old_document
if expect == 'new' then
  if raw then return {'stale'} end
else
  if not raw then return {'gone'} end
  old, old_document = split(raw)
  if (document ~= '' or #unlinked > 0) and string.format('%.0f', old.d) ~= expect then
    return {'stale'}
  end
  if ARGV[16] ~= '' and string.format('%.0f', old.v) ~= ARGV[16] then return {'stale'} end
end
if document ~= '' then
  local holder = redis.call('HGET', names, name)
  if holder and holder ~= id then
    local maker, made = string.match(
      redis.call('HGET', prefix .. 'unanswered', ARGV[13]) or '', '^(%S+) (%d+)$')
    return {'taken', holder, maker == holder and now_ms() - made or -1}
  end
end

if is_staged and not (stage and stage.token == ARGV[19]) then return {'moved'} end
if ARGV[18] ~= '' and string.format('%.0f', old.v) ~= ARGV[18] then return {'moved'} end

local change = cjson.decode(ARGV[7])
local members, staged = prefix .. 'members:' .. id, prefix .. 'staged:' .. id
local size = #change.add + #change.remove
if change.replace then size = #change.replace + redis.call('ZCARD', members) end
if size > large then return {'large'} end
local added, removed = {}, {}
if change.replace then
  local wanted = {}
  for _, member in ipairs(change.replace) do wanted[member] = true end
  for _, member in ipairs(redis.call('ZRANGE', members, 0, -1)) do
    if wanted[member] then wanted[member] = nil else removed[#removed + 1] = member end
  end
  for _, member in ipairs(change.replace) do
    if wanted[member] then added[#added + 1] = member; wanted[member] = nil end
  end
else
  for _, member in ipairs(change.remove) do
    if redis.call('ZSCORE', members, member) then removed[#removed + 1] = member end
  end
  for _, member in ipairs(change.add) do
    if not redis.call('ZSCORE', members, member) then added[#added + 1] = member end
  end
end

-- No group may come to lie below itself. What is looked at is the groups above this one: mostly none
-- or few, however many members are added.
if #added > 0 or is_staged then
  local above, waiting, seen = {[id] = true}, {id}, 0
  while #waiting > 0 do
    for _, parent in ipairs(groups_of(table.remove(waiting))) do
      if not above[parent] then
        above[parent] = true
        waiting[#waiting + 1] = parent
        seen = seen + 1
        if seen > 5000 then return {'deep'} end
      end
    end
  end
  for _, member in ipairs(added) do
    if above[member] then return {'circle', member} end
  end
  if is_staged then
    for group in pairs(above) do
      if redis.call('ZSCORE', staged, group) then return {'circle', group} end
    end
  end
end
local added_json = is_staged and ARGV[20] or array(added)
local removed_json = is_staged and ARGV[21] or array(removed)

local held = secret ~= '' and redis.call('HGET', prefix .. 'secrets', id)
if secret == '-' and not held or secret == held then secret = '' end

if document == '' and added_json == '[]' and removed_json == '[]' and #unlinked == 0 and secret == '' then
  return {'same', string.format('%.0f', old.v), string.format('%.0f', old.c), string.format('%.0f', old.m)}
end

local seq = redis.call('INCR', KEYS[1])
local at = now_ms()
local header = old or {c = at}
header.v, header.m = seq, at
if document ~= '' then
  if old and old.n ~= name then redis.call('HDEL', names, old.n) end
  redis.call('HSET', names, name, id)
  local old_external = old and old.x or ''
  if old_external ~= external_id then
    unindex(externals, old_external, id)
    index(externals, external_id, id)
  end
  header.d, header.n, header.x = seq, name, external_id
end
store(key, header, document ~= '' and document or old_document)
if secret == '-' then
  redis.call('HDEL', prefix .. 'secrets', id)
elseif secret ~= '' then
  redis.call('HSET', prefix .. 'secrets', id, secret)
end
if ARGV[22] == '1' then
  redis.call('HSET', prefix .. 'unanswered', ARGV[13], id .. ' ' .. string.format('%.0f', at))
end
if not old then
  redis.call('ZADD', prefix .. kind .. 's', seq, id)
  for _, group in ipairs(redis.call('SMEMBERS', prefix .. 'memberof:' .. id)) do
    forget_pending(group, {id})
  end
end

in_batches(removed, function(first, last)
  redis.call('ZREM', members, unpack(removed, first, last))
end)
in_batches(added, function(first, last)
  local scored = {}
  for at = first, last do
    scored[#scored + 1] = seq
    scored[#scored + 1] = added[at]
  end
  redis.call('ZADD', members, unpack(scored))
end)
for _, member in ipairs(added) do redis.call('SADD', prefix .. 'memberof:' .. member, id) end
leave(id, removed)
await_members(id, added, at)
if is_staged then
  set_members_aside(id)
  if redis.call('EXISTS', staged) == 1 then redis.call('RENAME', staged, members) end
  set_stage(id, '', 0, '0', stage.from, seq, at)
end

for _, link in ipairs(unlinked) do
  if link == 'like' then
    redis.call('HSET', prefix .. 'likes', 'name:' .. name, id, 'id:' .. id, name .. '\0' .. ARGV[8])
  else redis.call('HSET', prefix .. 'links', link, id) end
end

-- As the document is written here: no spaces. One that says it of something else is only looked at.
local losing = removed
if document ~= '' and string.find(document, '"active":false', 1, true) then losing = {id} end

local woken = append(seq, at, ARGV[9], tell({
  'op', old and 'updated' or 'created', 'type', kind, 'id', id, 'name', ARGV[8],
  'added', added_json, 'removed', removed_json, 'all', #unlinked > 0 and '1' or '0',
  'request', ARGV[11], 'token', ARGV[12], 'digest', ARGV[13], 'links', array(unlinked),
}, ARGV[17], document ~= '' and old_document or '', document, ARGV[23]), losing)
return {'ok', string.format('%.0f', seq), string.format('%.0f', header.c), string.format('%.0f', at), woken}
