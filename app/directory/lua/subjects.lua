-- Everything that a lane has to know of users and agents, seen at one moment.
--
-- ARGV   1 target   2... ids
-- Reply  {links (field, value, ...), names, secrets, applied digests, users, agents, groups, above};
--        all but the first and the last have an entry for each id. above: {group, the groups that it
--        is in} for each of these groups that is in one

local target = table.remove(ARGV, 1)
local users, agents, groups, above, known = {}, {}, {}, {}, {}
for at, id in ipairs(ARGV) do
  users[at] = prefix .. 'user:' .. id
  agents[at] = prefix .. 'agent:' .. id
  groups[at] = groups_of(id)
  for _, group in ipairs(groups[at]) do
    if not known[group] then
      known[group] = true
      local its_groups = groups_of(group)
      if #its_groups > 0 then above[#above + 1] = {group, its_groups} end
    end
  end
end
return {
  redis.call('HGETALL', prefix .. 'links'),
  redis.call('HMGET', prefix .. 'names:' .. target, unpack(ARGV)),
  redis.call('HMGET', prefix .. 'secrets', unpack(ARGV)),
  redis.call('HMGET', prefix .. 'secrets:' .. target, unpack(ARGV)),
  redis.call('MGET', unpack(users)),
  redis.call('MGET', unpack(agents)),
  groups,
  above,
}
