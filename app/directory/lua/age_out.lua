-- Take members out of a group that no resource has had the id of for too long.
--
-- KEYS[1]  scim:{t}:seq
-- ARGV     1 group   2 member ids (JSON array)   3 ms: only those that have waited since before
--          4 targets (JSON array)   5 request id   6 token id
--          7 who asked, as JSON, for the ledger ('' = there is none)   8 the kind's name attribute
-- Reply    {how many, targets to wake (JSON)}
-- Whoever has arrived or left meanwhile is left alone, and so is everybody while a change of many
-- members is under way.

local group, before = ARGV[1], tonumber(ARGV[3])
local stage = stage_of(group)
if stage and stage.live then return {0, '[]'} end
local key, members = prefix .. 'group:' .. group, prefix .. 'members:' .. group
local aged, stray = {}, {}
for _, id in ipairs(unknown_among(cjson.decode(ARGV[2]))) do
  local since = redis.call('ZSCORE', prefix .. 'pending', group .. '\0' .. id)
  if since and tonumber(since) < before then
    local list = redis.call('ZSCORE', members, id) and aged or stray
    list[#list + 1] = id
  end
end
leave(group, stray)
local raw = redis.call('GET', key)
if #aged == 0 or not raw then return {0, '[]'} end

local seq, at = redis.call('INCR', KEYS[1]), now_ms()
local header, document = split(raw)
header.v, header.m = seq, at
store(key, header, document)
in_batches(aged, function(first, last) redis.call('ZREM', members, unpack(aged, first, last)) end)
leave(group, aged)
local woken = append(seq, at, ARGV[4], tell({
  'op', 'updated', 'type', 'group', 'id', group, 'name', cjson.decode(document)[ARGV[8]],
  'added', '[]', 'removed', array(aged), 'all', '0',
  'request', ARGV[5], 'token', ARGV[6], 'digest', '', 'links', '[]',
}, ARGV[7], '', ''), {})
return {#aged, woken}
