"""The metrics REST API and the OpenAPI schema."""
