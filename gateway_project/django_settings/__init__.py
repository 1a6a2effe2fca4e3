"""Django's settings by subject: databases, caches, the channel layer, the admin and allauth."""
