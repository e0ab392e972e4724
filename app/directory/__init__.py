"""The tenants' directory in Redis: keys, Lua scripts, commits, reads and the event log."""
