"""Events for observers, the access log, the event log and the health pages."""
