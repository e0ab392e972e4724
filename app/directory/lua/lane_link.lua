-- Link the keys of the role map that have no group yet, where there is one. A group is linked as it
-- is written; this is for groups that were there before the role map named them.
-- ARGV   2 keys of the role map (JSON array): `name:` + folded displayName, or `ext:` + externalId
-- Reply  how many were linked
-- A link that exists stays: it survives renames. Of several groups with one externalId the first is
-- meant.

local linked = 0
for _, key in ipairs(cjson.decode(ARGV[2])) do
  local index = string.sub(key, 1, 4) == 'ext:' and 'groups:externalId' or 'groups:displayName'
  local value = string.gsub(key, '^%a+:', '', 1)
  local found = redis.call('HGET', prefix .. index, value)
  if found then
    linked = linked + redis.call('HSETNX', prefix .. 'links', key, string.match(found, '%S+'))
  end
end
return linked
