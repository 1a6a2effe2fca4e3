"""What deletes expired rows in the background, and which they are."""

from collections.abc import Iterator
from functools import partial

from gateway_project.config import Config
from metrics.retention.keeper import RetentionKeeper
from metrics.retention.tables import GrowingTable, UsageRetention, growing_tables


def open_retention(config: Config) -> RetentionKeeper:
    return RetentionKeeper(partial(tables, config))


def tables(config: Config) -> Iterator[GrowingTable]:
    metering = config.metering
    usage = UsageRetention(metering.retention, metering.timezone, has_events=bool(metering.url))
    return growing_tables(config.retention, usage)
