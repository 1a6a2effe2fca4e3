"""The admin's pages beyond the configuration itself: circuits, cache, history, explanations, and who did what."""

from metrics.admin import audit_log, cache, circuits, history, users

__all__ = ["audit_log", "cache", "circuits", "history", "users"]
