"""Alerts: conditions are watched by one worker of the cluster, and their changes are sent to recipients, once each."""
