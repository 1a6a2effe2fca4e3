"""Composition only: what the environment says, which parts are chosen, and how they are put together."""
