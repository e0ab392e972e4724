-- Note which names and roles are about to appear on the target: after a crash before the
-- acknowledgement they are still known to be ours.
-- ARGV   2 epoch   3 JSON {name: user id}   4 roles (JSON array)
-- Reply  1, or 0 if the lease is gone: nothing may be sent to the target

if not is_mine(ARGV[2]) then return 0 end
for name, id in pairs(cjson.decode(ARGV[3])) do
  redis.call('HSET', prefix .. 'intents:' .. target, name, id)
end
for _, role in ipairs(cjson.decode(ARGV[4])) do
  redis.call('HSETNX', prefix .. 'roles:' .. target, role, '')
end
return 1
