-- Keep facts for the ledger.
--
-- KEYS[1]  scim:{t}:seq
-- ARGV     facts, as _facts.lua has them
-- Reply    how many were not kept

return keep_facts(1)
