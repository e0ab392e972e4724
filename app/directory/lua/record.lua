-- Keep facts for the ledger, unless so many are waiting already.
--
-- KEYS[1]  scim:{t}:seq
-- ARGV     1 how many may wait   2… one JSON text a fact
-- Reply    how many were not kept; they are counted in the ledger's lane as `dropped`

local facts, dropped = prefix .. 'facts', 0
local room = tonumber(ARGV[1]) - redis.call('XLEN', facts)
for at = 2, #ARGV do
  if room > 0 then
    redis.call('XADD', facts, '*', 'fact', ARGV[at])
    room = room - 1
  else
    dropped = dropped + 1
  end
end
if dropped > 0 then redis.call('HINCRBY', prefix .. 'lane:+ledger', 'dropped', dropped) end
return dropped
