from django.apps import AppConfig


class ChannelsExampleConfig(AppConfig):
    name = "docs.examples.channels"
    label = "channel_list"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from routing.cache import invalidates_on_change

        from .models import Channel

        invalidates_on_change(Channel, tags=["slack:channels"])
