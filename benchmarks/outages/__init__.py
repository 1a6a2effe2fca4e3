"""What clients and staff see while Redis or PostgreSQL is away, slow or full."""
