-- Tell the ledger what a resource is: an event that changes nothing.
--
-- KEYS[1]  scim:{t}:seq
-- ARGV     1 kind (KINDS in keys.py)   2 id   3 targets (JSON array)   4 the kind's name attribute
--          5 who asked, as JSON
-- Reply    1, or 0 if there is no such resource (any more)
-- Cost     in proportion to the members of the group.

local kind, id = ARGV[1], ARGV[2]
local raw = redis.call('GET', prefix .. kind .. ':' .. id)
if not raw then return 0 end
local header, document = split(raw)
local ordered = redis.call('ZSCORE', prefix .. kind .. 's', id)
local members, scores, links = {}, {}, {}
if kind == 'group' then
  local found = redis.call('ZRANGE', prefix .. 'members:' .. id, 0, -1, 'WITHSCORES')
  for at = 1, #found, 2 do
    members[#members + 1] = found[at]
    local score = tonumber(found[at + 1])
    scores[#scores + 1] = score % 1 == 0 and score or stage_of(id).to  -- see `settle`
  end
  local linked = redis.call('HGETALL', prefix .. 'links')
  for at = 1, #linked, 2 do
    if linked[at + 1] == id then links[#links + 1] = linked[at] end
  end
  local like = redis.call('HGET', prefix .. 'likes', 'id:' .. id)
  if like then
    links[#links + 1] = 'like:' .. string.sub(like, string.find(like, '\0', 1, true) + 1)
  end
end
local seq = redis.call('INCR', KEYS[1])
append(seq, now_ms(), ARGV[3], tell({
  'op', 'stated', 'type', kind, 'id', id, 'name', cjson.decode(document)[ARGV[4]],
  'added', '[]', 'removed', '[]', 'all', '0', 'request', '', 'token', '', 'digest', '',
  'members', array(members), 'scores', array(scores), 'links', array(links),
  'header', string.format('{"v":%.0f,"d":%.0f,"c":%.0f,"m":%.0f,"o":%.0f}', header.v, header.d,
    header.c, header.m, tonumber(ordered)),
}, ARGV[5], '', document), {})
return 1
