"""How the gateway is deployed: a Helm chart, and files for Cloud Run, systemd, nginx, Caddy and Prometheus."""
