"""The log of single requests for staff: what each step decided, kept off the request path, and bounded."""
