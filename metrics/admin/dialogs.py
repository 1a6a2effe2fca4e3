"""The response to a dialog of the admin's pages."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from routing.pages.site import admin_url


def leave_dialog(request: HttpRequest, name: str) -> HttpResponse:
    """Lead to the admin page of this name.

    A dialog posts with htmx, which would follow a redirect without changing the page.
    """
    url = admin_url(name)
    return HttpResponse(headers={"HX-Redirect": url}) if "HX-Request" in request.headers else redirect(url)
