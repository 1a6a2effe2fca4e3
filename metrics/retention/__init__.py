"""How long rows are kept, and their deletion in the background."""
