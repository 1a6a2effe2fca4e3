"""Files that deploy the gateway."""
