"""What a start waits for, and what it prints."""
