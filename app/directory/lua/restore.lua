-- Put one resource back as it was, without its members; running it again changes nothing.
--
-- KEYS[1]  scim:{t}:seq
-- ARGV     1 kind (KINDS in keys.py)   2 id   3 document   4 folded name   5 externalId or ''
--          6 version   7 document's version   8 created ms   9 modified ms   10 seq of its creation
--          11 the kind's name attribute
-- Reply    1, or 0 if the directory is not being rebuilt (`rebuilding`)

local kind, id = ARGV[1], ARGV[2]
if redis.call('EXISTS', prefix .. 'rebuilding') == 0 then return 0 end
local header = {
  n = ARGV[4], x = ARGV[5], v = tonumber(ARGV[6]), d = tonumber(ARGV[7]), c = tonumber(ARGV[8]),
  m = tonumber(ARGV[9]),
}
store(prefix .. kind .. ':' .. id, header, ARGV[3])
redis.call('HSET', prefix .. kind .. 's:' .. ARGV[11], header.n, id)
index(prefix .. kind .. 's:externalId', header.x, id)
redis.call('ZADD', prefix .. kind .. 's', ARGV[10], id)
return 1
