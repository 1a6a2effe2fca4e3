"""The configuration as operators edit it, credentials of callers and of the gateway, and what outlives a restart."""

from routing.models.alerts import AlertRule
from routing.models.consumers import Consumer, ConsumerIdentity, Plan, QuotaUsage, Team
from routing.models.credentials import BackendCredential, PendingConnection
from routing.models.identities import IdentityKey
from routing.models.issuers import Issuer
from routing.models.keys import ApiKey, RetiredSecret
from routing.models.members import Member, PlanRequest
from routing.models.openapi import ServiceDocument
from routing.models.proposals import ConfigurationProposal
from routing.models.revisions import ConfigurationChange, ConfigurationRevision, ConfigurationVersion
from routing.models.revocations import Revocation
from routing.models.service_roles import ServiceRole
from routing.models.services import ANY_SECRET, SETTINGS, Route, Service, Target
from routing.models.signing_keys import SigningKey
from routing.models.watches import Watch
from routing.models.webhooks import FailedDelivery, Webhook

__all__ = [
    "ANY_SECRET",
    "SETTINGS",
    "AlertRule",
    "ApiKey",
    "BackendCredential",
    "ConfigurationChange",
    "ConfigurationProposal",
    "ConfigurationRevision",
    "ConfigurationVersion",
    "Consumer",
    "ConsumerIdentity",
    "FailedDelivery",
    "IdentityKey",
    "Issuer",
    "Member",
    "PendingConnection",
    "Plan",
    "PlanRequest",
    "QuotaUsage",
    "RetiredSecret",
    "Revocation",
    "Route",
    "Service",
    "ServiceDocument",
    "ServiceRole",
    "SigningKey",
    "Target",
    "Team",
    "Watch",
    "Webhook",
]
