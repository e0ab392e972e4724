-- Take the lane if nobody holds it, it is not paused, and its next attempt is due.
-- ARGV   2 lease, ms   3 '1' to leave it where nobody has marked it dirty
-- Reply  {epoch, cursor, configuration's digest or '', attempts so far, '1' if the holder before this
--        one never gave it back, '1' if it holds losses without having said so, the tenant's seq,
--        '1' if the target has lost the marker role and not everybody was looked at since},
--        or {} if the lane is not to be had
-- Epochs only grow, so a holder that was away too long can be told from the present one.

if redis.call('EXISTS', lease) == 1 or redis.call('HGET', lane, 'paused') == '1'
  or tonumber(redis.call('HGET', lane, 'next') or '0') > tonumber(now_ms())
  or ARGV[3] == '1' and redis.call('HEXISTS', prefix .. 'dirty', target) == 0 then
  return {}
end
local epoch = tostring(redis.call('INCR', prefix .. 'epoch:' .. target))
redis.call('SET', lease, epoch, 'PX', ARGV[2])
set_state('draining')
local kept = redis.call('HMGET', lane, 'config', 'attempts', 'holder', 'unmarked')
redis.call('HSET', lane, 'holder', epoch)
local undecided = redis.call('EXISTS', prefix .. 'held:' .. target) == 1
  and redis.call('HEXISTS', lane, 'blocked') == 0
return {epoch, string.format('%.0f', cursor()), kept[1] or '', kept[2] or '0', kept[3] and '1' or '0',
  undecided and '1' or '0', string.format('%.0f', seq()), kept[4] or '0'}
