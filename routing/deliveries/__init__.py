"""Deliveries of webhooks: the endpoint that receives them, and the worker that does what they are for."""
