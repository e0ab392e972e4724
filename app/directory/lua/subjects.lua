-- Everything that a lane has to know of users and agents, seen at one moment.
--
-- ARGV   1 target   2... ids
-- Reply  {links (field, value, ...), names, secrets, applied digests, users, agents, groups}; all
--        but the first have an entry for each id

local target = table.remove(ARGV, 1)
local users, agents, groups = {}, {}, {}
for at, id in ipairs(ARGV) do
  users[at] = prefix .. 'user:' .. id
  agents[at] = prefix .. 'agent:' .. id
  groups[at] = groups_of(id)
end
return {
  redis.call('HGETALL', prefix .. 'links'),
  redis.call('HMGET', prefix .. 'names:' .. target, unpack(ARGV)),
  redis.call('HMGET', prefix .. 'secrets', unpack(ARGV)),
  redis.call('HMGET', prefix .. 'secrets:' .. target, unpack(ARGV)),
  redis.call('MGET', unpack(users)),
  redis.call('MGET', unpack(agents)),
  groups,
}
