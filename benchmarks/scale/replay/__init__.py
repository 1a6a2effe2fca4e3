"""More workers than a machine can run: what one of them sends to Redis is recorded, and sent as if by all."""
