"""Load balancing: selects the target of each call by the operator's overrides, health and load."""
