"""ClickHouse targets: connections, observing, applying, classes of errors."""
