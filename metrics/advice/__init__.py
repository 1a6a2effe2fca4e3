"""Advice on the configuration, from what was counted: cache lifetimes, circuits, and what nobody uses."""
