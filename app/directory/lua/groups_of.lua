-- ARGV   ids
-- Reply  for each id the groups that it is in, directly

local found = {}
for at, id in ipairs(ARGV) do found[at] = groups_of(id) end
return found
