"""OpenAPI documents of services: reads them, and makes routes of their operations. No Django, no I/O."""
