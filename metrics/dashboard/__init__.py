"""The staff dashboard: pages, their JSON, and the live feed."""
