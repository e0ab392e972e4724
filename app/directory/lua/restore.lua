-- Put resources back as they were, without their members; running it again changes nothing.
--
-- KEYS[1]  scim:{t}:seq
-- ARGV     for each resource: kind (KINDS in keys.py), the kind's name attribute, id, document, folded
--          name, externalId or '', version, document's version, created ms, modified ms, seq of its
--          creation
-- Reply    1, or 0 if the directory is not being rebuilt (`rebuilding`)

if redis.call('EXISTS', prefix .. 'rebuilding') == 0 then return 0 end
for at = 1, #ARGV, 11 do
  local kind, attribute, id, document, name, external_id = unpack(ARGV, at, at + 5)
  local header = {
    n = name, x = external_id, v = tonumber(ARGV[at + 6]), d = tonumber(ARGV[at + 7]),
    c = tonumber(ARGV[at + 8]), m = tonumber(ARGV[at + 9]),
  }
  store(prefix .. kind .. ':' .. id, header, document)
  redis.call('HSET', prefix .. kind .. 's:' .. attribute, name, id)
  index(prefix .. kind .. 's:externalId', external_id, id)
  redis.call('ZADD', prefix .. kind .. 's', ARGV[at + 10], id)
end
return 1
