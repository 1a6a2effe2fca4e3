"""Metrics, audit log, REST API, dashboard and admin pages. Observes routing through routing.observability.events."""
