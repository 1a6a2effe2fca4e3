"""`usage`, as in the gateway's own project."""

from gateway_project.management.commands.usage import Command

__all__ = ["Command"]
