"""A ClickHouse server for development: the native protocol in front of the embedded engine."""
