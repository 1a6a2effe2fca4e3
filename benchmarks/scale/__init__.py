"""What one Redis carries: virtual workers, each with a gateway's own drivers, on one server."""
