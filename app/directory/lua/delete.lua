-- Delete one resource with its indexes, memberships and links; append the event.
--
-- KEYS[1]  scim:{t}:seq
-- ARGV     1 kind (KINDS in keys.py)   2 id   3 targets (JSON array)
--          4 request id   5 token id   6 request digest   7 the kind's name attribute
--          8 version that the resource must have, members included ('' = any)
--          9 who asked, as JSON, for the ledger ('' = there is none: the event has no document)
--         10 of a large group: the version at which its members were read  11 the members (JSON)
--         12 trace of the request, or ''
-- Reply    {'ok', seq, created ms, modified ms, targets to wake (JSON)}
--          {'gone'}     no such resource
--          {'stale'}    it has another version
--          {'large'}    so many members that they have to be read before (ARGV 10 and 11)
--          {'moved'}    the members changed since they were read: read them again
--          {'unsettled'}  an earlier large change has to be cleaned up first
-- Cost     in proportion to the groups that it is in, and to the members of a group that is not large.
-- The event's name is the one that the client gave, for people to read.

local kind, id = ARGV[1], ARGV[2]
local key = prefix .. kind .. ':' .. id
local raw = redis.call('GET', key)
if not raw then return {'gone'} end
local old, document = split(raw)
if ARGV[8] ~= '' and string.format('%.0f', old.v) ~= ARGV[8] then return {'stale'} end
local name = cjson.decode(document)[ARGV[7]]
local members = prefix .. 'members:' .. id
local is_large = kind == 'group' and redis.call('ZCARD', members) > large
if is_large then
  if ARGV[10] == '' then return {'large'} end
  if ARGV[10] ~= string.format('%.0f', old.v) then return {'moved'} end
  if redis.call('EXISTS', prefix .. 'left:' .. id) == 1 then return {'unsettled'} end
end

-- DEL comes first: a script that has begun to write may finish at maxmemory, and DEL may begin
-- there, so that a full Redis still takes access away.
redis.call('DEL', key)
local seq = redis.call('INCR', KEYS[1])
local at = now_ms()
redis.call('HDEL', prefix .. kind .. 's:' .. ARGV[7], old.n)
redis.call('HDEL', prefix .. 'secrets', id)
unindex(prefix .. kind .. 's:externalId', old.x, id)
redis.call('ZREM', prefix .. kind .. 's', id)

-- The groups that it was in have changed: their versions move on, their documents stay.
local groups = groups_of(id)
for _, group in ipairs(groups) do
  redis.call('ZREM', prefix .. 'members:' .. group, id)
  local group_key = prefix .. 'group:' .. group
  local group_raw = redis.call('GET', group_key)
  if group_raw then
    local header, group_document = split(group_raw)
    header.v, header.m = seq, at
    store(group_key, header, group_document)
  end
end
-- Whoever is staged to be in a group is so without being a resource, from then on.
for _, group in ipairs(redis.call('SMEMBERS', prefix .. 'memberof:' .. id)) do
  if #leave(group, {id}) > 0 then await_members(group, {id}, at) end
end

local removed, losing = ARGV[11], {id}
if kind == 'group' then
  if is_large then
    losing = {}
    set_members_aside(id)
    if redis.call('HEXISTS', unsettled, id) == 0 then set_stage(id, '', 0, '0', 0, 0, 0) end
  else
    local ids = redis.call('ZRANGE', members, 0, -1)
    redis.call('DEL', members)
    leave(id, ids)
    removed, losing = array(ids), ids
  end
  local links = redis.call('HGETALL', prefix .. 'links')
  for i = 1, #links, 2 do
    if links[i + 1] == id then redis.call('HDEL', prefix .. 'links', links[i]) end
  end
  local like = redis.call('HGET', prefix .. 'likes', 'id:' .. id)
  if like then
    local folded = string.sub(like, 1, string.find(like, '\0', 1, true) - 1)
    redis.call('HDEL', prefix .. 'likes', 'id:' .. id, 'name:' .. folded)
  end
end

local woken = append(seq, at, ARGV[3], tell({
  'op', 'deleted', 'type', kind, 'id', id, 'name', name,
  'added', '[]', 'removed', removed, 'all', '0', 'groups', array(groups),
  'request', ARGV[4], 'token', ARGV[5], 'digest', ARGV[6],
}, ARGV[9], document, '', ARGV[12]), losing)
return {'ok', string.format('%.0f', seq), string.format('%.0f', old.c), string.format('%.0f', at), woken}
