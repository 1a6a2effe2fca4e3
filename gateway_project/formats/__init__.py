"""How dates are written, in each language: one form, with its time zone."""
