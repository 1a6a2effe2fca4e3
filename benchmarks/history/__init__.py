"""A year of history at 50 services, and how long each page of the dashboard and the admin takes with it."""
