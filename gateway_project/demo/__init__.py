"""The demonstration of `rungateway --demo`."""
