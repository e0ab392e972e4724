-- Clean up a part of what a large change of a group's members has left behind, done or given up.
--
-- ARGV   1 group   2 how many ids   3 token of a stage that is given up ('' = none)
-- Reply  1 if there is more to do, 0 if not (a stage whose writer is alive is left alone)
-- Those who came get the seq and the time of the event that told of them. Whoever is a member keeps his entries, whatever happened meanwhile: so it may run at any time, by
-- anybody, and again.

local group = ARGV[1]
local stage = stage_of(group)
if not stage then return 0 end
if stage.token ~= '' and (stage.token == ARGV[3] or not stage.live) then
  set_stage(group, '', 0, '0', 0, 0, 0)
  stage.token = ''
end

local function clean(key)
  local popped = redis.call('ZPOPMIN', key, ARGV[2])
  if #popped == 0 then return false end
  local ids, gone = {}, {}
  for each = 1, #popped, 2 do ids[#ids + 1] = popped[each] end
  in_batches(ids, function(first, last)
    local scores = redis.call('ZMSCORE', prefix .. 'members:' .. group, unpack(ids, first, last))
    for each = first, last do
      if not scores[each - first + 1] then gone[#gone + 1] = ids[each] end
    end
  end)
  leave(group, gone)
  return true
end

if clean(prefix .. 'left:' .. group) then return 1 end
if stage.token ~= '' then return 0 end
if clean(prefix .. 'staged:' .. group) then return 1 end
if stage.to > 0 then
  local members, score = prefix .. 'members:' .. group, string.format('%.1f', stage.from + 0.5)
  local scored, waiting = {}, {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', members, score, score, 'LIMIT', 0, ARGV[2])) do
    scored[#scored + 1] = stage.to
    scored[#scored + 1] = id
    waiting[#waiting + 1] = stage.at
    waiting[#waiting + 1] = group .. '\0' .. id
  end
  if #scored > 0 then
    redis.call('ZADD', members, unpack(scored))
    redis.call('ZADD', prefix .. 'pending', 'XX', unpack(waiting))
    set_stage(group, '', stage.till + 1, '0', stage.from, stage.to, stage.at)  -- for who reads in steps
    return 1
  end
end
redis.call('HDEL', unsettled, group)
return 0
