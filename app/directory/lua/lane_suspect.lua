-- Have resources looked at again later: a statement about them may still be on its way, sent by a
-- holder of the lane that is gone, or without an answer.
-- ARGV   2 resource ids (JSON array)   3 in how many ms
-- Reply  how many are waiting

local suspects = prefix .. 'suspects:' .. target
local due = string.format('%.0f', tonumber(now_ms()) + tonumber(ARGV[3]))
for _, id in ipairs(cjson.decode(ARGV[2])) do redis.call('ZADD', suspects, 'GT', due, id) end
return redis.call('ZCARD', suspects)
