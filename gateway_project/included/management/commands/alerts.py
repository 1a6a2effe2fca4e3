"""`alerts`, as in the gateway's own project."""

from gateway_project.management.commands.alerts import Command

__all__ = ["Command"]
