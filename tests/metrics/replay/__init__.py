"""Replays of the request log."""
