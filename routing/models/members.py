"""The people of a consumer, who sign in to the portal, and the plans they request. Found through routing.models."""

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from routing.models.consumers import Consumer, Plan


class Member(models.Model):
    """A person of a consumer: invited with a link, and from its use on a Django user without any right of staff.

    Only a digest of the link is stored. The link of a member who has joined sets a new password.
    """

    class Role(models.TextChoices):
        MEMBER = "member", _("Member")
        MANAGER = "manager", _("Manager")

    consumer = models.ForeignKey(Consumer, models.CASCADE, related_name="members")
    email = models.EmailField(max_length=150, verbose_name="email address")
    role = models.CharField(max_length=8, choices=Role.choices, default=Role.MEMBER)
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, editable=False, related_name="member"
    )
    link_digest = models.CharField(max_length=64, unique=True, null=True, editable=False)  # noqa: DJ001 - many have none
    link_ends = models.DateTimeField(null=True, blank=True, editable=False)
    invited_by = models.CharField(max_length=200, blank=True, editable=False)
    invited_at = models.DateTimeField(auto_now_add=True)
    joined_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("email", "pk")
        constraints = (
            models.UniqueConstraint(
                "consumer",
                Lower("email"),
                name="member_once",
                violation_error_message="This person is invited already.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.email} of {self.consumer}"

    @property
    def is_manager(self) -> bool:
        return self.role == self.Role.MANAGER

    def state(self, now: datetime) -> str:
        """`joined`, `invited`, or `expired` for an invitation that was not used in time."""
        if self.user_id is not None:
            return "joined"
        return "invited" if self.link_ends is not None and self.link_ends > now else "expired"


class PlanRequest(models.Model):
    """A consumer's request for another plan, and what staff decided. `plan` is None for one that describes the need."""

    class State(models.TextChoices):
        PENDING = "pending", _("Pending")
        APPROVED = "approved", _("Approved")
        REFUSED = "refused", _("Refused")
        WITHDRAWN = "withdrawn", _("Withdrawn")

    consumer = models.ForeignKey(Consumer, models.CASCADE, related_name="plan_requests")
    plan = models.ForeignKey(Plan, models.SET_NULL, null=True, blank=True)
    reason = models.TextField(max_length=2_000, blank=True)
    requested_by = models.CharField(max_length=200)
    requested_at = models.DateTimeField(auto_now_add=True)
    state = models.CharField(max_length=9, choices=State.choices, default=State.PENDING)
    note = models.TextField(max_length=2_000, blank=True)
    decided_by = models.CharField(max_length=200, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-pk",)
        constraints = (
            models.UniqueConstraint(
                fields=("consumer",), condition=models.Q(state="pending"), name="one_pending_plan_request"
            ),
        )

    def __str__(self) -> str:
        return f"{self.consumer}: {self.plan or 'another plan'}"
