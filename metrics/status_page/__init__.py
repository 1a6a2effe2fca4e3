"""The public page with the state of services: `/status/`."""
