"""The SCIM protocol as pure functions and data: RFC 7643 and RFC 7644 without I/O."""
