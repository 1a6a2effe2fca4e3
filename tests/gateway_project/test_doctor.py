"""What `manage.py doctor` finds, and what it says to do."""

import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from django.core.management import CommandError, call_command
from msgspec.structs import replace

from gateway_project import config
from gateway_project.config import Config
from gateway_project.doctor import backends, countries, environment, redis
from gateway_project.doctor import certificates as revoked
from gateway_project.doctor.backends import Destination, Probed, check_targets, probe
from gateway_project.doctor.database import check_readers
from gateway_project.doctor.finding import Finding, Level, exit_status, to_json, to_text
from gateway_project.doctor.machine import check_directory, check_listener, check_open_files
from gateway_project.doctor.redis_commands import COMMANDS
from gateway_project.doctor.sentinels import check_sentinels
from gateway_project.doctor.startup_file import check_startup_file
from gateway_project.doctor.variable_names import check_names
from resilience.redis_address import parse
from resilience.redis_client import connect_blocking
from routing.router.policy import Target
from routing.router.table import Service
from routing.tls.policy import TlsPolicy
from tests import certificates
from tests.internal_ca import NAME, InternalCa, tls_server, validity
from tests.mmdb import database
from tests.ports import free_port
from tests.processes import eventually
from tests.redis_server import RedisServer, binary

ROOT = Path(__file__).parents[2]
NEEDED = {"SECRET_KEY": "of these tests alone" * 2}
GROUPS = "-@all +@connection +@read +@write +@pubsub +@scripting +@transaction +info +time +cluster"
"""The rights that docs/redis.md gives the user of the gateway."""
OPEN = {**NEEDED, "HOST": "0.0.0.0"}


def levels(findings: Iterator[Finding]) -> dict[str, str]:
    return {finding.check: str(finding.level) for finding in findings}


def read(**variables: str) -> Config:
    return config.read({**NEEDED, "DATABASE_URL": "sqlite://:memory:", **variables})


def test_the_exit_status_is_that_of_the_worst_finding() -> None:
    made = {level: Finding("a check", level, "message", "advice") for level in Level}
    assert exit_status([]) == exit_status([made[Level.OK], made[Level.OFF]]) == 0
    assert exit_status([made[Level.OK], made[Level.WARNING]]) == 1
    assert exit_status([made[Level.ERROR], made[Level.WARNING]]) == 2
    found = list(made.values())
    assert json.loads(to_json(found))["status"] == "error"
    assert json.loads(to_json(found))["findings"][2] == {
        "check": "a check",
        "level": "warning",
        "message": "message",
        "advice": "advice",
    }
    assert to_text(found).endswith("1 error, 1 warning")
    assert to_text(found[:2]).endswith("no problems")


def test_a_local_gateway_needs_nothing() -> None:
    assert set(levels(environment.check_environment(read())).values()) == {"ok", "off"}


@pytest.mark.parametrize(
    ("variables", "check", "level"),
    [
        ({}, "allowed hosts", "warning"),
        ({"ALLOWED_HOSTS": "*"}, "allowed hosts", "warning"),
        ({"ALLOWED_HOSTS": "gw.example"}, "allowed hosts", "ok"),
        ({}, "trusted proxies", "warning"),
        ({"TRUSTED_PROXIES": "10.0.0.0/8 ::/0"}, "trusted proxies", "error"),
        ({"TRUSTED_PROXIES": "0.0.0.0/1"}, "trusted proxies", "warning"),
        ({"TRUSTED_PROXIES": "10.0.0.0/8 fd00::/16"}, "trusted proxies", "ok"),
        ({}, "staff origin", "warning"),
        ({"STAFF_PORT": "9000"}, "staff origin", "ok"),
        ({"DEBUG": "on"}, "debug", "error"),
        ({"STAFF_HOST": "gw.example", "ALLOWED_HOSTS": "gw.example, 127.0.0.1"}, "staff origin", "warning"),
        ({"STAFF_HOST": "gw.example", "ALLOWED_HOSTS": "gw.example, api.example"}, "staff origin", "ok"),
        ({}, "secret key", "ok"),
        ({"SECRET_KEY": "x" * 60}, "secret key", "warning"),
        ({"SECRET_KEY": "django-insecure-" + "k3m5pq7a" * 5}, "secret key", "warning"),
    ],
)
def test_a_gateway_that_others_can_reach(variables: dict[str, str], check: str, level: str) -> None:
    assert levels(environment.check_environment(read(HOST="0.0.0.0", **variables)))[check] == level


@pytest.mark.parametrize(("days", "level"), [(-1, Level.ERROR), (0.5, Level.WARNING), (30, Level.OK)])
def test_lists_of_revoked_certificates(tmp_path: Path, days: float, level: Level) -> None:
    authority, file = certificates.authority(), tmp_path / "revoked.pem"
    file.write_bytes(certificates.revocations(authority, ends=datetime.now(UTC) + timedelta(days=days)))
    (tmp_path / "ca.pem").write_text(authority.pem)
    trusted = {"CLIENT_CERTIFICATES": "xfcc", "CLIENT_CA": str(tmp_path / "ca.pem"), "TRUSTED_PROXIES": "10.0.0.0/8"}
    found = read(CLIENT_CRL=str(file), **trusted)
    assert [finding.level for finding in revoked.check_revocations(found)] == [level]
    file.write_text("nothing")
    assert [finding.level for finding in revoked.check_revocations(found)] == [Level.ERROR]
    assert list(revoked.check_revocations(read())) == []


def test_the_database_of_countries(tmp_path: Path) -> None:
    assert levels(countries.check_countries(read())) == {"countries": "off"}
    file = tmp_path / "countries.mmdb"
    file.write_bytes(database({"192.0.2.0/24": "DE"}, built=int(time.time())))
    found = read(GEOIP_DATABASE=str(file))
    (finding,) = countries.check_countries(found)
    assert (finding.level, finding.message.partition(" of ")[0]) == (Level.OK, "Test-Country")
    file.write_bytes(database({"192.0.2.0/24": "DE"}, built=int(time.time()) - 91 * 86_400))
    (finding,) = countries.check_countries(found)
    assert (finding.level, "older than 90 days" in finding.message) == (Level.WARNING, True)
    file.write_bytes(b"nothing")
    (finding,) = countries.check_countries(found)
    assert (finding.level, finding.message) == (Level.ERROR, f"{file}: not a valid MaxMind DB file")
    file.unlink()
    (finding,) = countries.check_countries(found)
    assert finding.message == f"{file}: No such file or directory"


def test_a_secret_key_that_others_can_read(tmp_path: Path) -> None:
    file = tmp_path / "secret_key"
    file.write_text("of these tests alone" * 2)
    file.chmod(0o644)
    found = read(SECRET_KEY="", DATA_DIR=str(tmp_path))
    assert levels(environment.check_environment(found))["secret key"] == "warning"
    file.chmod(0o600)
    assert levels(environment.check_environment(found))["secret key"] == "ok"


@pytest.mark.parametrize(
    ("directory", "file", "is_told"), [(0o755, 0o644, True), (0o700, 0o644, False), (0o755, 0o600, False)]
)
def test_a_database_that_others_can_read(directory: int, file: int, is_told: bool, tmp_path: Path) -> None:
    path = tmp_path / "gateway.sqlite3"
    path.touch(mode=file)
    path.chmod(file)
    tmp_path.chmod(directory)
    assert [finding.level for finding in check_readers(path)] == [Level.WARNING] * is_told


def test_packages_that_are_missing_or_of_another_version(tmp_path: Path) -> None:
    assert list(environment.check_dependencies(tmp_path)) == []
    (tmp_path / "requirements-core.txt").write_text("# pinned\nDjango==1.0\nnot-a-package-at-all==2\n")
    (tmp_path / "requirements-postgres.txt").write_text("psycopg[binary]==3\nnot-an-extra==2\n")
    (found,) = environment.check_dependencies(tmp_path)
    assert found.level is Level.WARNING
    assert "Django " in found.message
    assert "not-a-package-at-all 2 is missing" in found.message
    assert "instead of 3" in found.message
    assert "not-an-extra" not in found.message
    assert str(tmp_path / "requirements.txt") in found.advice


@pytest.mark.parametrize(
    ("soft", "hard", "level", "files"),
    [
        (128, 128, "error", "128"),
        (1_024, 2_048, "warning", "2048"),
        (1_024, 1 << 20, "ok", "65536"),
        (1_024, -1, "ok", "65536"),
        (100_000, 1 << 20, "ok", "100000"),
        (-1, -1, "ok", "no limit"),
    ],
)
def test_a_low_limit_of_open_files_is_reported(soft: int, hard: int, level: str, files: str) -> None:
    """The gateway raises its own limit as far as it may."""
    found = check_open_files(soft, hard)
    assert (found.level, found.message.split(" for each")[0]) == (level, files)


def test_the_address_to_listen_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = check_listener("127.0.0.1", taken.getsockname()[1])
    assert (found.level, "is in use" in found.message) == (Level.OK, True)
    assert check_listener("127.0.0.1", free_port()).level is Level.OK
    for host in ("192.0.2.7", "999.1.1.1"):
        assert check_listener(host, free_port()).level is Level.ERROR


def test_a_directory_is_written_to(tmp_path: Path) -> None:
    assert check_directory("data", tmp_path / "not" / "yet", "").level is Level.OK
    assert check_directory("data", Path("/proc/self"), "set DATA_DIR").level is Level.ERROR
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("free", "level"), [(0, Level.ERROR), (20_000, Level.ERROR), (2 * 1024**2, Level.WARNING)])
def test_a_full_disk_is_an_error(free: int, level: Level, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert check_directory("data", tmp_path, "").level is level


@pytest.mark.parametrize(
    ("policy", "limit", "level"),
    [
        ("volatile-lru", 1 << 29, "ok"),
        ("volatile-lru", 0, "warning"),
        ("noeviction", 1 << 29, "warning"),
        ("allkeys-lru", 1 << 29, "warning"),
    ],
)
def test_the_eviction_policy(policy: str, limit: int, level: str) -> None:
    assert redis.check_eviction("redis", {"maxmemory_policy": policy, "maxmemory": limit}).level == level


def test_a_real_redis() -> None:
    with closing(RedisServer("--maxmemory", "64mb", "--maxmemory-policy", "volatile-lru")) as server:
        server.start()
        found = levels(redis.check_redis(read(REDIS_URL=server.url), server.url))
        assert set(found.values()) == {"ok"}, found
        assert len(found) == 7
        client: Any = connect_blocking(parse(server.url), 2.0)
        assert client.dbsize() == 0  # nothing is left
        client.execute_command("ACL", "SETUSER", "few", "on", ">pw", "~gw:*", "-@all", "+ping", "+info", "+get", "+set")
        client.close()
        limited = server.url.replace("unix://", "unix://few:pw@")
        findings = {finding.check: finding for finding in redis.check_redis(read(REDIS_URL=limited), limited)}
        refused = findings["redis permissions"]
        assert refused.level is Level.ERROR
        assert "publish: " in refused.message
        assert "write: " not in refused.message
        assert "~gw:*" in refused.advice
        server.stop()
        (away,) = redis.check_redis(read(REDIS_URL=limited), limited)
        assert (away.level, away.check) == (Level.ERROR, "redis")
        assert "pw@" not in to_json([away])


@pytest.mark.parametrize("command", ["evalsha", "xadd", "zrangebyscore", "info"])
def test_a_command_that_a_user_of_redis_lacks_is_named(command: str) -> None:
    with closing(RedisServer()) as server:
        server.start()
        with server.client() as client:
            rights = f"on >pw resetkeys ~gw:* resetchannels &gw:* {GROUPS} -{command}"
            client.execute_command("ACL", "SETUSER", "few", *rights.split())
            url = server.url.replace("unix://", "unix://few:pw@")
            findings = {finding.check: finding for finding in redis.check_redis(read(REDIS_URL=url), url)}
            assert findings["redis permissions"].message == f"these commands are refused: {command.upper()}"
            assert "~gw:*" in findings["redis permissions"].advice
            client.execute_command("ACL", "SETUSER", "few", f"+{command}")
            findings = {finding.check: finding for finding in redis.check_redis(read(REDIS_URL=url), url)}
            assert findings["redis permissions"].level is Level.OK, findings["redis permissions"]
            assert client.dbsize() == 0  # nothing is left


def test_the_commands_of_all_scripts_are_tried() -> None:
    used = set[str]()
    for room in ("resilience", "routing", "metrics"):
        for file in (ROOT / room).rglob("*.py"):
            used.update(re.findall(r"redis\.p?call\('([A-Z]+)'", file.read_text()))
    assert "HSETNX" in used
    assert used - {command.split()[0] for command in COMMANDS} == set()


def test_no_redis_is_off_and_an_embedded_one_is_well() -> None:
    assert levels(redis.check_redis(read(), None)) == {"redis": "off"}
    assert levels(redis.check_redis(read(REDIS_URL="embedded"), None)) == {"redis": "ok"}


def test_a_service_is_out_if_none_of_its_targets_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    away = {
        Destination("http", "b.example", 8000): Probed("Connection refused"),
        Destination("http", "c.example", 80): Probed("x"),
    }
    soon = {Destination("https", "d.example", 443): Probed("", 3.0)}
    monkeypatch.setattr(backends, "probe", lambda origin, timeout, tls: (away | soon).get(origin, Probed("", 300.0)))
    up, down, other = Target("https://a.example/base"), Target("http://b.example:8000"), Target("http://c.example")
    unused = Target("http://c.example", weight=0)
    services = [
        Service("half", (up, down)),
        Service("out", (down, other)),
        Service("well", (up, unused, Target("https://d.example"))),
    ]
    found = {finding.check: finding for finding in check_targets(services, 1.0)}
    assert {check: str(finding.level) for check, finding in found.items()} == {
        "service half": "warning",
        "service out": "error",
        "targets": "ok",
        "certificate d.example": "warning",
    }
    assert found["service half"].message == "http://b.example:8000: Connection refused"
    assert found["targets"].message == "2 of 4 accept connections"


@contextmanager
def listener(context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Accepts one connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):  # the other side may refuse the certificate
                if context is None:
                    connection.recv(1)
                else:
                    with context.wrap_socket(connection, server_side=True) as secured:
                        secured.recv(1)

        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_a_target_is_connected_to_and_no_more() -> None:
    with listener() as port:
        assert probe(Destination("http", "127.0.0.1", port), 5.0) == Probed("")
    assert "refused" in probe(Destination("http", "127.0.0.1", port), 5.0).fault
    assert probe(Destination("http", "nobody.invalid", 80), 5.0).fault == "its name cannot be resolved"


def test_a_certificate_is_verified_and_its_end_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    life: dict[str, Any] = {"begins": now - timedelta(days=1), "ends": now + timedelta(days=5)}
    authority = certificates.authority(**life)
    issued = certificates.client(authority, dns=["localhost"], purposes=(ExtendedKeyUsageOID.SERVER_AUTH,), **life)
    key = issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    (tmp_path / "server.pem").write_text(issued.pem + key)
    (tmp_path / "authority.pem").write_text(authority.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    with listener(context) as port:
        assert "certificate is refused" in probe(Destination("https", "localhost", port), 5.0).fault
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with listener(context) as port:
        found = probe(Destination("https", "localhost", port), 5.0)
    assert found.fault == ""
    assert found.days == pytest.approx(5, abs=0.1)


def test_the_whole_command_reports_an_invalid_environment_as_findings(tmp_path: Path) -> None:
    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", "doctor", *arguments]
        given = {"DATA_DIR": str(tmp_path), **variables}
        return subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, check=False)

    invalid = run("--json", PORT="x", **NEEDED)
    assert invalid.returncode == 2
    (finding,) = json.loads(invalid.stdout)["findings"]
    assert (finding["check"], finding["level"]) == ("PORT", "error")
    early = run("--json", **NEEDED)
    assert early.returncode == 1, early.stdout + early.stderr
    found = {finding["check"]: finding for finding in json.loads(early.stdout)["findings"]}
    assert "manage.py migrate" in found["database"]["advice"]
    assert list(tmp_path.iterdir()) == []  # it makes nothing


@pytest.mark.parametrize("host", ["gw.example", ".gw.example", "*", "192.0.2.1", "[2001:db8::1]", "my_gateway"])
def test_hosts_that_requests_may_have(host: str) -> None:
    found = levels(environment.check_environment(read(**OPEN, ALLOWED_HOSTS=host)))
    assert found["allowed hosts"] == ("warning" if host == "*" else "ok")


def test_names_that_are_nearly_those_of_variables() -> None:
    misspelt = ["ALOWED_HOSTS", "REDIS_URLS", "STAFF_OIDC_ISUER"]
    others = ["GATEWAY_SECRET_CONFIG", "PORTS", "HOME", "RATE_LIMIT", *NEEDED]
    found = [(each.message, each.advice) for each in check_names(dict.fromkeys([*misspelt, *others], "x"))]
    assert found == [
        ("ALOWED_HOSTS has no effect", "write ALLOWED_HOSTS, if that is meant"),
        ("REDIS_URLS has no effect", "write REDIS_URL, if that is meant"),
        ("STAFF_OIDC_ISUER has no effect", "write STAFF_OIDC_ISSUER, if that is meant"),
    ]


@pytest.mark.parametrize(
    ("content", "level", "message"),
    [
        ("version: 1\nservices:\n  crm: {targets: [{url: 'http://a'}]}\n", Level.OK, ""),
        (
            "version: 1\nservices:\n  crm: {targets: [{url: 'ftp://a'}]}\n",
            Level.ERROR,
            "line 3: services.crm.targets[0]",
        ),
        ("version: 1\nservices: [", Level.ERROR, "line 2: not valid YAML"),
        (
            "version: 1\nservices:\n  crm: {targets: [{url: 'http://a'}], headers: {A: 'env:GATEWAY_SECRET_NONE'}}\n",
            Level.WARNING,
            "GATEWAY_SECRET_NONE",
        ),
    ],
)
def test_the_file_that_a_start_applies(tmp_path: Path, content: str, level: Level, message: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(content)
    (found,) = check_startup_file(read(GATEWAY_CONFIG=str(file)))
    assert found.level is level
    assert message in found.message
    assert list(check_startup_file(read())) == []


def test_a_redis_that_is_full_or_of_another_password() -> None:
    """The advice is what helps, not what the rights of a user are."""
    with closing(RedisServer("--maxmemory", "1mb", "--maxmemory-policy", "noeviction")) as server:
        server.start()
        found = {each.check: each for each in redis.check_redis(read(REDIS_URL=server.url), server.url)}
        assert "ACL" not in found["redis permissions"].advice
        assert (found["redis eviction"].level, found["redis eviction"].message[:4]) == (Level.ERROR, "full")
        assert "raise maxmemory" in found["redis eviction"].advice
        wrong = server.url.replace("unix://", "unix://nobody:5ecret@")
        (away,) = redis.check_redis(read(REDIS_URL=wrong), wrong)
        assert "the user and the password" in away.advice
        assert "5ecret" not in to_json([away])


@pytest.mark.parametrize(
    ("options", "change", "check", "advice"),
    [
        ((), ("/0", "/16"), "redis", "name a database that the server has"),
        ((), ("/0", "/16"), "redis permissions", "name a database that the server has"),
        ((), ("redis:", "redis+cluster:"), "redis", "write redis://"),
        ((), ("redis:", "redis+sentinel:"), "redis", "write redis://"),
        ((), ("redis:", "redis+sentinel:"), "redis info", "write redis://"),
        (("--cluster-enabled", "yes"), ("", ""), "redis permissions", "redis+cluster://"),
        (("--min-replicas-to-write", "1"), ("", ""), "redis permissions", "min-replicas-to-write"),
        (("--maxmemory", "1mb", "--maxmemory-policy", "allkeys-lru"), ("", ""), "redis permissions", "raise maxmemory"),
        (("--rename-command", "EVAL", ""), ("", ""), "redis permissions", "rename-command"),
    ],
)
def test_what_to_do_about_an_error_of_redis(
    options: tuple[str, ...], change: tuple[str, str], check: str, advice: str
) -> None:
    port = free_port()
    with closing(RedisServer("--port", str(port), *options)) as server:
        server.start()
        url = f"redis://127.0.0.1:{port}/0"
        wrong = (url.replace("/0", "/master/0") if "sentinel" in change[1] else url).replace(*change)
        found = {each.check: each for each in redis.check_redis(read(REDIS_URL=wrong), wrong)}
        assert found[check].level is Level.ERROR
        assert advice in found[check].advice


def test_a_redis_that_refuses_all_writes_after_a_failed_snapshot() -> None:
    """It refuses PING too, which is not a server that is away."""
    with closing(RedisServer()) as server:
        server.start()
        (server.directory / "dump.rdb").mkdir()
        (server.directory / "dump.rdb" / "in the way").touch()
        with server.client() as client:
            client.config_set("save", "3600 1")
            client.set("gw:x", "1")
            client.bgsave()
            assert eventually(lambda: cast(Any, client.info("persistence"))["rdb_last_bgsave_status"] == "err")
        found = {each.check: each for each in redis.check_redis(read(REDIS_URL=server.url), server.url)}
        assert found["redis"].message.startswith("refuses PING: MISCONF")
        assert "free space" in found["redis persistence"].advice


def test_a_redis_in_which_a_command_that_scripts_use_is_renamed() -> None:
    with closing(RedisServer("--rename-command", "INFO", "")) as server:
        server.start()
        found = {each.check: each for each in redis.check_redis(read(REDIS_URL=server.url), server.url)}
        assert found["redis info"].level is Level.ERROR
        assert "rename-command" in found["redis info"].advice


def test_each_sentinel_is_asked(tmp_path: Path) -> None:
    """One that is away, one that watches another master, and one that wants a password."""
    made = [(free_port(), extra) for extra in ("", "requirepass other\n", "")]
    processes = []
    with closing(RedisServer("--port", str(free_port()))) as server:
        server.start()
        try:
            for number, extra in made[:2]:
                file = tmp_path / f"{number}.conf"
                file.write_text(
                    f"port {number}\ndir {tmp_path}\n{extra}sentinel monitor m 127.0.0.1 {server.options[1]} 1\n"
                )
                processes.append(subprocess.Popen([binary(), str(file), "--sentinel"], stdout=subprocess.DEVNULL))
            for number, _ in made[:2]:
                assert eventually(lambda number=number: accepts(number), 20.0)  # type: ignore[misc] # a default in a lambda
            hosts = ",".join(f"127.0.0.1:{number}" for number, _ in made)
            (well,) = check_sentinels(parse(f"redis+sentinel://127.0.0.1:{made[0][0]}/m"), 5.0)
            assert well.level is Level.OK
            (found,) = check_sentinels(parse(f"redis+sentinel://{hosts}/m"), 5.0)
            assert found.level is Level.WARNING
            assert f"127.0.0.1:{made[1][0]}: AuthenticationError" in found.message
            assert f"127.0.0.1:{made[2][0]}: ConnectionError" in found.message
            assert "sentinel_password" in found.advice
            (none,) = check_sentinels(parse(f"redis+sentinel://127.0.0.1:{made[0][0]}/other"), 5.0)
            assert (none.level, none.message) == (Level.ERROR, f"127.0.0.1:{made[0][0]}: does not watch other")
        finally:
            for process in processes:
                process.kill()
                process.wait()


def accepts(number: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", number), 1.0):
        return True
    return False


def test_targets_are_asked_as_the_gateway_asks_them() -> None:
    ca = InternalCa()
    issued = ca.client()
    accepted = TlsPolicy(ca=ca.pem, certificate=issued.pem, key=issued.key_pem, server_name=NAME)
    with tls_server(ca.server(NAME), clients=ca.pem) as server:
        origin = Destination.of(server.url)
        assert probe(origin, 5.0, accepted).fault == ""
        assert probe(origin, 5.0, replace(accepted, certificate="", key="")).fault == "client certificate: required"
        assert "refused" in probe(origin, 5.0, replace(accepted, server_name="other.example")).fault
        targets = (Target(server.url, tls=accepted),)
        found = {each.check: each for each in check_targets([Service("crm", targets, tls=accepted)], 5.0)}
        assert {name: str(each.level) for name, each in found.items()} == {"targets": "ok"}


@pytest.mark.parametrize(("days", "level"), [(30, None), (9, "warning"), (-0.5, "error")])
def test_the_gateways_own_certificates_are_named_before_they_expire(days: float, level: str | None) -> None:
    ca = InternalCa()
    issued = ca.client(**validity(-1, days))
    tls = TlsPolicy(ca=ca.pem, certificate=issued.pem, key=issued.key_pem)
    target = Target("https://a.example", tls=tls)
    found = list(backends.check_own_certificates([Service("crm", (target,), tls=tls)], time.time()))
    assert [(each.check, str(each.level)) for each in found] == [
        ("certificate crm.tls.certificate", level) for level in [level] if level
    ]


def test_secrets_with_what_a_file_of_variables_has_added_are_named() -> None:
    secrets = {"SECRET_KEY": "'x'", "GATEWAY_SECRET_A": "x\r", "GATEWAY_SECRET_B": 'x"x', "OTHER": '"x"'}
    assert [each.message for each in environment.check_secrets(secrets)] == [
        "GATEWAY_SECRET_A begins or ends with white space",
        "SECRET_KEY is in quotation marks",
    ]


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf", "soon", "3s", ""])
def test_a_timeout_that_is_no_time_is_refused(timeout: str) -> None:
    with pytest.raises(CommandError, match="must be a number of seconds, more than 0 and at most 3600"):
        call_command("doctor", f"--timeout={timeout}")
