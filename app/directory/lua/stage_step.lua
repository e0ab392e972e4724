-- Put a part of a large change of a group's members beside them.
--
-- ARGV   1 group   2 token   3 lease, ms   4 '1': others wait from now on
--        5 JSON {"put": [id, score, ...], "new": [id, ...], "drop": [id, ...]}
--          put: who is to be a member; new: those of them who are none yet; drop: who is not to be
-- Reply  1, or 0 if the stage is gone
-- A new one's reverse entry comes before the switch, so that none is missing after it.

local group = ARGV[1]
local stage = stage_of(group)
if not stage or stage.token ~= ARGV[2] then return 0 end
local at = now_ms()
set_stage(group, ARGV[2], at + ARGV[3], ARGV[4], stage.from, 0, 0)
local part = cjson.decode(ARGV[5])
local staged, members = prefix .. 'staged:' .. group, prefix .. 'members:' .. group
in_batches(part.put, function(first, last)
  local scored = {}
  for each = first, last, 2 do
    scored[#scored + 1] = part.put[each + 1]
    scored[#scored + 1] = part.put[each]
  end
  redis.call('ZADD', staged, unpack(scored))
end)
for _, id in ipairs(part.new) do redis.call('SADD', prefix .. 'memberof:' .. id, group) end
await_members(group, part.new, at)
if #part.drop > 0 then
  local left = {}
  for _, id in ipairs(part.drop) do
    redis.call('ZREM', staged, id)
    if not redis.call('ZSCORE', members, id) then left[#left + 1] = id end
  end
  leave(group, left)
end
return 1
