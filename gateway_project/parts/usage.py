"""Usage as this process counts and stores it, and its events, which one of the workers delivers."""

from functools import partial
from zoneinfo import ZoneInfo

from gateway_project.config import Config
from gateway_project.parts.components import Infrastructure
from metrics.usage.ledger import UsageLedger
from metrics.usage.outbox import Outbox
from metrics.usage.recorder import UsageRecorder
from metrics.usage.sender import UsageSender
from routing.configuration.headers import headers
from routing.http import Headers


class Usage:
    """`recorder` is None if usage is not counted, `sender` if no events are delivered."""

    def __init__(self, timezone: ZoneInfo, recorder: UsageRecorder | None, sender: UsageSender | None) -> None:
        self.timezone = timezone
        self._recorder = recorder
        self._sender = sender

    def start(self) -> None:
        if self._recorder:
            self._recorder.start()
        if self._sender:
            self._sender.start()

    async def collect(self) -> None:
        """Save what all workers have counted until now. Raises DatabaseError."""
        if self._recorder:
            await self._recorder.collect()

    async def end_deliveries(self) -> None:
        """Before the client of backends is closed."""
        if self._sender:
            await self._sender.close()

    async def close(self) -> None:
        if self._recorder:
            await self._recorder.close()


def open_usage(config: Config, infra: Infrastructure) -> Usage:
    """Started."""
    settings = config.metering
    recorder, sender = None, None
    if infra.meter is not None:
        ledger = UsageLedger()
        backup = infra.stores.metering
        recorder = UsageRecorder(infra.meter, backup, ledger, timezone=settings.timezone, clock=infra.clock)
    if settings.url:
        outbox = Outbox(
            type=settings.type, source=settings.source, timezone=settings.timezone, interval=settings.interval
        )
        sender = UsageSender(
            outbox,
            infra.backend,
            url=settings.url,
            form=settings.format,
            headers=partial(_fields, config),
            clock=infra.clock,
        )
    usage = Usage(settings.timezone, recorder, sender)
    usage.start()
    return usage


def _fields(config: Config) -> Headers:
    """The configured fields. Raises ValueError for a secret that is missing."""
    fields: dict[str, tuple[bytes, bytes]] = headers(config.secret)(config.metering.headers)
    return list(fields.values())
