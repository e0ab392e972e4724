-- Begin a large change of a group's members, which is put down in steps (`stage_step`) and becomes
-- true with `write`.
--
-- ARGV   1 group   2 token   3 lease, ms
-- Reply  {'ok', last seq}   {'held'}: another one is under way   {'unsettled'}: clean up first

local group = ARGV[1]
local stage = stage_of(group)
if stage then return {stage.live and 'held' or 'unsettled'} end
local seq = redis.call('GET', KEYS[1]) or '0'
set_stage(group, ARGV[2], now_ms() + ARGV[3], '0', tonumber(seq), 0, 0)
return {'ok', seq}
