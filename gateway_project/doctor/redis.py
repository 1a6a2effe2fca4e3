"""Redis: whether this user may do what the gateway does there, and whether the server keeps what it must."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from statistics import median
from typing import Any, Final

from gateway_project.config import Config
from gateway_project.doctor.finding import Finding, error, off, ok, warning
from gateway_project.doctor.redis_commands import refused_commands
from gateway_project.doctor.sentinels import check_sentinels
from gateway_project.environment.redis_server import EMBEDDED
from resilience.redis import CLOCK_TOLERANCE
from resilience.redis_address import parse
from resilience.redis_client import FAILURES, REFUSED_COMMAND, REFUSED_USER, connect_blocking, failure_reason
from resilience.redis_sentinels import refused_certificate

TIMEOUT_SECONDS: Final = 3.0
OLDEST: Final = (6, 2)
ROUNDS: Final = 20
SLOW_MS: Final = 5.0
"""A longer round trip is reported: a cached response that is not in the worker's own memory takes one."""
PROBE_SECONDS: Final = 10
"""Lifetime of the keys that the check writes."""
MEANWHILE: Final = "until then each worker decides alone, and caches nothing shared"
ACL: Final = (
    "ACL SETUSER NAME on >PASSWORD resetkeys ~{0}:* resetchannels &{0}:* "
    "-@all +@connection +@read +@write +@pubsub +@scripting +@transaction +info +time +cluster"
)

ADVICE: Final = {
    "DB index is out of range": "name a database that the server has in REDIS_URL, such as /0, or raise `databases`",
    "'SENTINEL'": "write redis:// in REDIS_URL: the server is no sentinel, whose port is 26379 by default",
    "BUSY": "a script of another program runs for too long: SCRIPT KILL ends it",
    "Hash slot not served": "the server is part of a cluster: assign all slots, and write redis+cluster://",
    "MOVED": "the server is part of a cluster: write redis+cluster:// in REDIS_URL",
    "NOREPLICAS": "connect replicas, or CONFIG SET min-replicas-to-write 0",
    "used memory > 'maxmemory'": "raise maxmemory: the server can evict nothing more",
    "unknown command": "give the command its name back (rename-command): scripts use it",
}
"""What to do about an error of the server, by words of it."""
OTHERWISE: Final = "see the findings below, and the server's log"


def check_redis(config: Config, url: str | None) -> Iterator[Finding]:
    """The findings about the server at `url`, which is running."""
    if config.redis_url == EMBEDDED:
        yield ok("redis", "embedded: a private Valkey starts and ends with the gateway")
        return
    if url is None:
        yield off("redis", "REDIS_URL is not set: `serve` starts a private Valkey, and one worker of others needs none")
        return
    address = parse(url)
    if address.kind == "sentinel":
        yield from check_sentinels(address, TIMEOUT_SECONDS)
    try:
        client: Any  # of one server, or of a cluster
        with closing(connect_blocking(address, TIMEOUT_SECONDS)) as client:
            if address.kind != "cluster":
                yield from check_server("redis", client, config.redis_prefix)
                return
            for node in client.get_primaries():
                server = client.get_redis_connection(node)
                yield from check_server(f"redis {node.name}", server, config.redis_prefix, is_cluster=True)
    except FAILURES as fault:
        yield error("redis", f"cannot connect: {_connection_fault(fault)}", f"{_connection_advice(fault)}; {MEANWHILE}")


def check_server(name: str, client: Any, prefix: str, *, is_cluster: bool = False) -> Iterator[Finding]:
    """Raises FAILURES if it cannot be reached. In a cluster, keys of other nodes are not probed."""
    try:
        yield _latency(name, client)
    except REFUSED_COMMAND as fault:  # it is there: what follows says more, unless it refuses that too
        yield error(name, f"refuses PING: {_text(fault)}", _refusal_advice(fault))
    yield from _permissions(name, client, prefix, is_cluster=is_cluster)
    try:
        about = client.info()
    except FAILURES as fault:
        yield error(f"{name} info", f"INFO is refused: {_text(fault)}", _refusal_advice(fault, "INFO"))
        return
    yield _version(name, about)
    yield _role(name, about)
    yield check_eviction(name, about)
    yield _persistence(name, about)
    yield _clock(name, client)


def _latency(name: str, client: Any) -> Finding:
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        client.ping()
        seconds.append(time.perf_counter() - began)
    took = median(seconds) * 1_000
    message = f"{took:.2f} ms a round trip, at most {max(seconds) * 1_000:.1f} ms of {ROUNDS}"
    if took > SLOW_MS:
        return warning(name, message, "put it nearer, and check for slow commands of other programs (SLOWLOG GET)")
    return ok(name, message)


def _version(name: str, about: dict[str, Any]) -> Finding:
    version = str(about.get("redis_version", "0"))
    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    shown = f"Valkey {about['valkey_version']}" if "valkey_version" in about else f"Redis {version}"
    if parts < OLDEST:
        return error(f"{name} version", shown, f"upgrade to Redis {OLDEST[0]}.{OLDEST[1]} or later, or Valkey")
    return ok(f"{name} version", shown)


def _role(name: str, about: dict[str, Any]) -> Finding:
    if about.get("role") == "slave":
        return error(f"{name} role", "a replica, which refuses writes", "name the master in REDIS_URL, or use Sentinel")
    return ok(f"{name} role", f"master with {about.get('connected_slaves', 0)} replicas")


def check_eviction(name: str, about: dict[str, Any]) -> Finding:
    """Circuits and counters have no expiry: only a volatile policy leaves them."""
    check, policy, limit = f"{name} eviction", str(about.get("maxmemory_policy", "")), int(about.get("maxmemory", 0))
    size = f"{limit // 1024**2} MB" if limit else "no limit"
    advice = "CONFIG SET maxmemory-policy volatile-lru, and in the server's configuration file"
    if policy.startswith("allkeys"):
        return warning(check, f"{policy} may evict circuits and counters", advice)
    if not limit:
        return warning(
            check,
            f"{policy} with no maxmemory: the cache may take all memory of the machine",
            f"set maxmemory; {advice}",
        )
    if policy == "noeviction" and int(about.get("used_memory", 0)) >= limit:
        return error(
            check, f"full: all of {size} is used, and noeviction refuses writes", f"raise maxmemory, or {advice}"
        )
    if policy == "noeviction":
        return warning(check, f"noeviction with {size}: a full server stores no further responses", advice)
    return ok(check, f"{policy} with {size}")


def _persistence(name: str, about: dict[str, Any]) -> Finding:
    check = f"{name} persistence"
    if about.get("loading"):
        return warning(check, "the server is loading its data", "wait")
    for field, what in (("rdb_last_bgsave_status", "snapshot"), ("aof_last_write_status", "write of the log")):
        if about.get(field, "ok") != "ok":
            advice = "free space on the server's disk: it may refuse all writes meanwhile (stop-writes-on-bgsave-error)"
            return error(check, f"the last {what} has failed", advice)
    if about.get("aof_enabled"):
        return ok(check, "append only file")
    return ok(check, "no append only file: a restart loses what no snapshot has; the cache needs neither")


def _clock(name: str, client: Any) -> Finding:
    before = time.time()
    seconds, microseconds = client.time()
    skew = seconds + microseconds / 1e6 - (before + time.time()) / 2
    if abs(skew) > CLOCK_TOLERANCE:
        message = f"differs by {skew:.1f} s from this machine's; the gateway corrects its own by it"
        return warning(f"{name} clock", message, "run an NTP client on both")
    return ok(f"{name} clock", "agrees with this machine's")


def _permissions(name: str, client: Any, prefix: str, *, is_cluster: bool) -> Iterator[Finding]:
    """Do what the gateway does, with a key and a channel of its own."""
    key, check = f"{prefix}:doctor:{secrets.token_hex(8)}", f"{name} permissions"
    probes: dict[str, Callable[[], object]] = {"time": client.time}
    if not is_cluster:
        probes |= {
            "write": lambda: client.set(key, "1", ex=PROBE_SECONDS),
            "read": lambda: client.get(key),
            "script": lambda: client.eval("redis.call('TIME') return redis.call('GET', KEYS[1])", 1, key),
            "publish": lambda: client.publish(f"{key}:channel", "1"),
            "subscribe": lambda: _subscribe(client, f"{key}:channel"),
            "delete": lambda: client.unlink(key),
        }
    refused, lacks_rights = [], False
    for probe, run in probes.items():
        try:
            run()
        except FAILURES as fault:
            refused.append(f"{probe}: {_text(fault)}")
            lacks_rights |= isinstance(fault, REFUSED_USER)
    if not refused and not is_cluster and (commands := refused_commands(client, key)):
        refused.append(f"these commands are refused: {', '.join(commands)}")
        lacks_rights = True
    if refused:
        advice = ACL.format(prefix) if lacks_rights else _advice_about("; ".join(refused))
        yield error(check, "; ".join(refused), advice)
    else:
        yield ok(check, f"{', '.join(probes)} under {prefix}:")


def _subscribe(client: Any, channel: str) -> None:
    with closing(client.pubsub()) as subscription:
        subscription.subscribe(channel)
        subscription.get_message(timeout=TIMEOUT_SECONDS)


def _connection_fault(fault: BaseException) -> str:
    """Which error it is, and what the server or the system says of it."""
    reason = failure_reason(fault)
    return reason if refused_certificate(fault) is not None else f"{reason}: {_text(fault)}"


def _connection_advice(fault: BaseException) -> str:
    if isinstance(fault, REFUSED_USER):
        return "check the user and the password in REDIS_URL"
    if "Timeout" in type(fault).__name__:
        return (
            "check that the server runs, that nothing between drops connections, and that it has TLS if rediss is asked"
        )
    if "Cluster mode is not enabled" in str(fault):
        return "write redis:// in REDIS_URL: the server is not part of a cluster"
    return "check REDIS_URL and that the server runs"


def _refusal_advice(fault: BaseException, command: str = "") -> str:
    """`command` is one that scripts use too."""
    if isinstance(fault, REFUSED_USER):
        return f"allow +{command.lower()}: scripts use it" if command else "allow +ping"
    said = str(fault)
    if said.startswith("unknown command") and "SENTINEL" not in said:
        return (
            f"give {command} its name back (rename-command): scripts use it" if command else "see the server's settings"
        )
    return _advice_about(said)


def _advice_about(said: str) -> str:
    """What to do about what the server has said."""
    return next((advice for words, advice in ADVICE.items() if words in said), OTHERWISE)


def _text(fault: BaseException) -> str:
    """The server's own message, which names commands and users, but no passwords."""
    return " ".join(str(fault).split())[:200] or type(fault).__name__
