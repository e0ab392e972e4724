-- Know groups by their names that give something for it. A group becomes known as it is written; this
-- is for groups that were there before the role map spoke of such names.
-- ARGV   2 ids of groups (JSON array)
--        3 '1' to write nothing
-- Reply  {group id, its displayName, …} of those that became known, or would have
-- What a group is known as stays, also when it is renamed; another group is not known by that name.

local likes = prefix .. 'likes'
local known = {}
for _, group in ipairs(cjson.decode(ARGV[2])) do
  local raw = redis.call('GET', prefix .. 'group:' .. group)
  if raw and redis.call('HEXISTS', likes, 'id:' .. group) == 0 then
    local at = string.find(raw, '\n', 1, true)
    local name = cjson.decode(string.sub(raw, 1, at - 1)).n
    local shown = cjson.decode(string.sub(raw, at + 1)).displayName
    if redis.call('HEXISTS', likes, 'name:' .. name) == 0 then
      if ARGV[3] ~= '1' then
        redis.call('HSET', likes, 'name:' .. name, group, 'id:' .. group, name .. '\0' .. shown)
      end
      known[#known + 1], known[#known + 2] = group, shown
    end
  end
end
if #known > 0 and ARGV[3] ~= '1' then state_groups() end
return known
