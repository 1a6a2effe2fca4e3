"""Alerts as the configuration names them: what they watch, and whom they notify."""
