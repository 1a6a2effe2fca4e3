"""Everything that reads or writes Django's models: loading, applying and versioning the configuration, API keys."""
