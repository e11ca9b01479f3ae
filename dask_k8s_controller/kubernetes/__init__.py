"""The API server: connection, reads and writes, Events and statuses."""
