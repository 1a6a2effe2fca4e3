"""Consumers, their teams and plans: whose requests are counted together, and what limits hold for them."""
