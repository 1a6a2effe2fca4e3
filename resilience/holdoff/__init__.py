"""Hold-offs: after a backend has limited its calls, none is made until it accepts calls again."""
