"""API keys as operators handle them: which scopes they may have, and how they are shown."""
