from django.urls import include, path

urlpatterns = [path("", include("docs.examples.channels.urls")), path("", include("gateway_project.urls"))]
