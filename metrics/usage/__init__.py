"""Usage by consumer, team, service, route and day: counted by each worker, and stored in the database once."""
