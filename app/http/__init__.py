"""The receiver: SCIM over aiohttp."""
