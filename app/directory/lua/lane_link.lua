-- Link the keys of the role map that have no group yet, where there is one. A group is linked as it
-- is written; this is for groups that were there before the role map named them.
-- ARGV   2 keys of the role map (JSON array): `name:` + folded displayName, or `ext:` + externalId
--        3 '1' to write nothing
-- Reply  {key, group id, …} of those that were linked, or would have been
-- A link that exists stays: it survives renames. Of several groups with one externalId one is meant.

local function by_external_id(value)
  local least, most = '[' .. value .. '\0', '(' .. value .. '\1'
  local entry = redis.call('ZRANGEBYLEX', prefix .. 'groups:externalId', least, most, 'LIMIT', 0, 1)[1]
  return entry and string.sub(entry, #value + 2)
end

local linked = {}
for _, key in ipairs(cjson.decode(ARGV[2])) do
  local group
  if string.sub(key, 1, 4) == 'ext:' then group = by_external_id(string.sub(key, 5))
  else group = redis.call('HGET', prefix .. 'groups:displayName', string.sub(key, 6)) end
  if group and redis.call('HEXISTS', prefix .. 'links', key) == 0 then
    if ARGV[3] ~= '1' then redis.call('HSET', prefix .. 'links', key, group) end
    linked[#linked + 1], linked[#linked + 2] = key, group
  end
end
if #linked > 0 and ARGV[3] ~= '1' then state_groups() end
return linked
