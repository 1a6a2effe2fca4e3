"""Webhooks in: their settings, the verification of a delivery, and the queue of deliveries that wait for their work."""
