"""What the gateway writes to stderr: lines for people, or one JSON object for each event. Imports nothing of Django's,
since it also logs why Django cannot be set up.
"""
