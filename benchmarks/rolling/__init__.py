"""Requests and streams while gateways restart one after the other behind a load balancer, or a worker is killed."""
