"""The embedded default: Redis, ClickHouse, receiver and worker in one command, for development."""
