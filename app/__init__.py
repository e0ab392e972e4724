"""ClickHouse SCIM: the receiver, and what receiver and workers share."""

__version__ = "0.1.0"
