"""The admin's pages beyond the configuration itself: circuits, cache, history, explanations, and who did what."""

from metrics.admin import cached, circuits, history, operations, people

__all__ = ["cached", "circuits", "history", "operations", "people"]
