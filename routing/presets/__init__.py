"""Settings for well-known APIs, shipped as YAML that a person can read: see shipped.py and expand.py."""
