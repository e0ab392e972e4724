"""The arq side: from the event log to access on ClickHouse."""
