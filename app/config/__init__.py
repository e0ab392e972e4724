"""Settings, tenants, targets and role maps: parsed and checked once, typed."""
