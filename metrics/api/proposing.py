"""Endpoints whose changes may have to wait for approval."""

from typing import Any

from django.http import HttpResponse
from django.urls import reverse

from metrics.api import representations
from metrics.api.base import MetricsView
from metrics.approvals import ChangeProposed


class ProposingView(MetricsView):
    """A view that calls `metrics.approvals.submitted`."""

    def handle_exception(self, exc: Exception) -> Any:
        """202 for a change that waits for approval: nothing has changed yet."""
        if not isinstance(exc, ChangeProposed):
            return super().handle_exception(exc)
        number = exc.proposal.pk
        report = {"proposal": number, "state": exc.proposal.state, "summary": exc.proposal.summary}
        address = reverse("api-config-proposal", kwargs={"number": str(number)})
        content, media = representations.write(report, representations.JSON), representations.JSON
        headers = {"Location": address}
        return HttpResponse(content, content_type=representations.content_type(media), status=202, headers=headers)
