"""`quota`, as in the gateway's own project."""

from gateway_project.management.commands.quota import Command

__all__ = ["Command"]
