"""What backends say remains of their limits."""
