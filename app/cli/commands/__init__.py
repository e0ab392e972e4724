"""One module a command; see `app.cli.main`."""
