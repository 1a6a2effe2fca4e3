"""Replay: recorded requests, decided once more under the present configuration and under a draft of another."""
