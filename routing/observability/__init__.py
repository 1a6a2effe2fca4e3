"""What a request leaves behind: events for observers, the access log, the event log, health checks."""
