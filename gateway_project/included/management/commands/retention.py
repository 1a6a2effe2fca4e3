"""`retention`, as in the gateway's own project."""

from gateway_project.management.commands.retention import Command

__all__ = ["Command"]
