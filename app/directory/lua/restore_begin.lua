-- Take an empty directory to fill it again, or the one whose filling was interrupted.
--
-- KEYS[1]  scim:{t}:seq
-- ARGV     1 seq of the last event that it will have had
-- Reply    1, or 0 if there is a directory already

if redis.call('EXISTS', prefix .. 'rebuilding') == 0 and redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
redis.call('SET', prefix .. 'rebuilding', '1')
redis.call('SET', KEYS[1], ARGV[1])
return 1
