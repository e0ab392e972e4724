-- Hand the lane back if there is nothing left to do; the check and the release are one step, so a
-- commit either finds the lane still dirty or marks it dirty again and wakes somebody.
-- ARGV   2 epoch
-- Reply  'idle' (released, clean), 'more' (still held), 'lost'

if not is_mine(ARGV[2]) then return 'lost' end
if cursor() < seq() or redis.call('EXISTS', prefix .. 'todo:' .. target) == 1
  or redis.call('HEXISTS', lane, 'resync') == 1 then
  return 'more'
end
redis.call('HDEL', prefix .. 'dirty', target)
give_back()
set_state('idle')
return 'idle'
