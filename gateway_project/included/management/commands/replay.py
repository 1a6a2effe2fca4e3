"""`replay`, as in the gateway's own project."""

from gateway_project.management.commands.replay import Command

__all__ = ["Command"]
