"""Configuration files of other gateways as this one's. No Django, no I/O.

What has a counterpart is converted; everything else is reported.
"""
