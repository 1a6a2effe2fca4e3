"""The project's settings with the example of docs/caching.md installed, as a team would add its own app."""

from gateway_project.settings import *  # noqa: F403 - Django's way to extend settings
from gateway_project.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "docs.examples.channels.apps.ChannelsExampleConfig"]
ROOT_URLCONF = "tests.system.example_urls"
