"""Subscriptions at Google on behalf of webhooks: Gmail's watches and Calendar's channels, renewed before they end."""
