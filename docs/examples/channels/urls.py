from django.urls import path

from .views import channel_count, channel_list

urlpatterns = [
    path("channels/", channel_list),
    path("channels/count/", channel_count),
]
