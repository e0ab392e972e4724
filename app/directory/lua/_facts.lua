-- Keeps facts for the ledger, unless so many are waiting already. ARGV from `first` on:
--   how many may wait; then for each fact: its JSON text, the field of `told` that remembers it ('' for
--   none), what the field is then ('' to forget it)
-- Returns how many were not kept; they are counted in the ledger's lane as `dropped`.

local function keep_facts(first)
  local facts, told, dropped = prefix .. 'facts', prefix .. 'told', 0
  local room = tonumber(ARGV[first]) - redis.call('XLEN', facts)
  for at = first + 1, #ARGV, 3 do
    local field, value = ARGV[at + 1], ARGV[at + 2]
    if room > 0 then
      redis.call('XADD', facts, '*', 'fact', ARGV[at])
      room = room - 1
      if field ~= '' and value ~= '' then redis.call('HSET', told, field, value)
      elseif field ~= '' then redis.call('HDEL', told, field) end
    else
      dropped = dropped + 1
    end
  end
  if dropped > 0 then redis.call('HINCRBY', prefix .. 'lane:+ledger', 'dropped', dropped) end
  return dropped
end
