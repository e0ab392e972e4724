-- Have resources looked at when their validity ends; the last word about each counts.
-- ARGV   2 resource ids (JSON array)   3 when, ms since 1970
-- Reply  1

for _, id in ipairs(cjson.decode(ARGV[2])) do
  redis.call('ZADD', prefix .. 'ends:' .. target, ARGV[3], id)
end
return 1
