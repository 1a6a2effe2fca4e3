"""Builds what evaluates the conditions of alerts, and sends their messages."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from gateway_project.config import Config
from gateway_project.parts.components import Infrastructure, Resilience
from metrics.alerts.certificates import TargetCertificates, client_authorities
from metrics.alerts.notifier import Notifier, RecipientResult
from metrics.alerts.reading import SnapshotReader
from metrics.alerts.sending import Sender
from metrics.counting.flusher import Flusher
from routing.configuration.alert_recipients import recipient_of_label


class Alerts:
    """The alerts of one process."""

    def __init__(self, config: Config, infra: Infrastructure, resilience: Resilience, flusher: Flusher) -> None:
        self._database, self._blocking = ThreadPoolExecutor(1, "alert-reads"), ThreadPoolExecutor(4, "alert-sends")
        roots = config.certificates.roots if config.certificates else b""
        certificates = TargetCertificates(client_authorities(roots), infra.clock)
        self._reader = SnapshotReader(
            infra.live,
            flusher=flusher,
            breakers=resilience.breakers,
            balancers=resilience.targets,
            certificates=certificates,
            executor=self._database,
            clock=infra.clock,
        )
        sender = Sender(infra.backend, config.alerts, self._blocking)
        recipient_of = partial(recipient_of_label, secret=config.secret)
        self._notifier = Notifier(infra.live, self._reader.read, sender, recipient_of=recipient_of, clock=infra.clock)

    def start(self) -> None:
        self._notifier.start()

    async def test(self, name: str | None = None) -> list[RecipientResult]:
        """As Notifier.test."""
        return await self._notifier.test(name)

    async def close(self) -> None:
        """Before the client of backends is closed."""
        await self._notifier.close()
        await self._reader.close()
        self._database.shutdown(wait=False)
        self._blocking.shutdown(wait=False)
