"""The staff dashboard: pages, the JSON they show, and WebSockets for live data and events."""
