"""Settings, tenants, targets and role maps: parsed and checked once, typed.

`app.config.load.load` reads a file. Nothing is imported here: `environment` is wanted by commands
that never load pydantic.
"""
