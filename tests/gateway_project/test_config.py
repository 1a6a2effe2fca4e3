from pathlib import Path

import pytest

from gateway_project import config
from gateway_project.django_settings.databases import databases
from gateway_project.environment import extras
from gateway_project.environment.telemetry import Traces
from gateway_project.environment.variables import ConfigurationFault
from tests import certificates
from tests.mmdb import database

GIVEN = {"SECRET_KEY": "x" * 32}


@pytest.fixture(autouse=True)
def data_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Instead of the checkout's, which may have a secret key."""
    monkeypatch.setattr(config, "VAR", tmp_path / "var")
    return tmp_path / "var"


def faults(**environment: str) -> list[str]:
    with pytest.raises(ConfigurationFault) as caught:
        config.read(environment)
    return caught.value.faults


def test_only_a_secret_key_is_required() -> None:
    read = config.read(GIVEN)
    assert (read.server.host, read.server.port, read.server.workers) == ("127.0.0.1", 8000, 1)
    assert read.redis_url is None
    assert (read.rate_limit.limit, read.rate_limit.window) == (100, 60)
    assert (read.debug, read.log_format, read.server.access_log) == (False, "json", True)


def test_a_short_secret_key_is_a_fault_unless_debug_is_on() -> None:
    (found,) = faults(SECRET_KEY="hush" + "x" * 27)
    assert found.startswith("SECRET_KEY: must have at least 32 characters")
    assert "hush" not in found
    assert config.read({"SECRET_KEY": "hush", "DEBUG": "on"}).secret_key == "hush"


def test_all_faults_are_reported_at_once() -> None:
    found = faults(PORT="99999", DEBUG="perhaps", REDIS_URL="http://x", RATE_LIMIT="many", TRUSTED_PROXIES="10.0.0.300")
    assert [fault.partition(":")[0] for fault in found] == [
        "DEBUG",
        "REDIS_URL",
        "TRUSTED_PROXIES",
        "RATE_LIMIT",
        "PORT",
        "SECRET_KEY",
    ]


def test_no_fault_contains_a_secret() -> None:
    found = faults(SECRET_KEY="hush", REDIS_URL="http://:hunter2@x", DATABASE_URL="mysql://:hunter2@x")
    assert "hunter2" not in "".join(found)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
@pytest.mark.parametrize(
    "rest",
    [
        "u:hunter2@h:port/db",
        "u:hunter2@h:99999/db",
        "u:hunter2@h:0/db",
        "u:hun@ter2@h/db",
        "u:hunter2/x@h/db",
        "u:hunter2#x@h/db",
        "u:hunter2[@h/db",
        "u:hunter2\u2100@h/db",
        "u:hunter2@[::1/db",
    ],
)
def test_a_fault_of_a_databases_address_is_listed_without_any_secret(scheme: str, rest: str) -> None:
    found = faults(**GIVEN, DATABASE_URL=f"{scheme}://{rest}", PORT="0")
    assert [fault.partition(":")[0] for fault in found] == ["DATABASE_URL", "PORT"]
    assert "hun" not in found[0]
    assert "port" in found[0]


@pytest.mark.parametrize("rest", ["h", "h/", "u:hunter2@h:5432/", "h1,h2/", "/?host=h"])
def test_a_databases_address_names_the_database(rest: str) -> None:
    assert faults(**GIVEN, DATABASE_URL=f"postgresql://{rest}") == [
        "DATABASE_URL: names no database: postgresql://USER:PASSWORD@HOST:PORT/NAME"
    ]


@pytest.mark.parametrize(
    ("text", "host"), [("[::]", "::"), ("[::1]", "::1"), ("::", "::"), ("gateway.internal", "gateway.internal")]
)
def test_an_address_to_listen_on_may_be_in_brackets(text: str, host: str) -> None:
    assert config.read({**GIVEN, "HOST": text}).server.host == host


@pytest.mark.parametrize("text", ["http://0.0.0.0", "0.0.0.0/0", "unix:///run/gateway.sock"])
def test_an_address_to_listen_on_is_no_url(text: str) -> None:
    (fault,) = faults(**GIVEN, HOST=text)
    assert fault.startswith(f"HOST: {text!r} is not a host")


@pytest.mark.parametrize(
    "text",
    [
        "sqlite://:memory:",
        "sqlite:////tmp/a@b.sqlite3",
        "postgres:///db",
        "postgres://u:p%40ss@h:5432/db?sslmode=require",
        "postgres://[::1]:5432/db",
    ],
)
def test_a_valid_address_of_a_database_is_taken_as_it_is(text: str) -> None:
    assert config.read({**GIVEN, "DATABASE_URL": text}).database_url == text


def test_a_slash_in_a_password_of_redis_is_a_fault_that_prints_nothing_of_it() -> None:
    (found,) = faults(**GIVEN, REDIS_URL="redis://:1/hunter2@h:6379")
    assert found.startswith("REDIS_URL: ")
    assert "hunter2" not in found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "0"),
        *[("HOST", text) for text in ('"0.0.0.0"', "'0.0.0.0'", "\ufeff0.0.0.0", "0.0.0.0\u200b", "0.0.0.0\x00")],
        ("FIREBASE_PROJECT_ID", '"project"'),
        *[
            ("ALLOWED_HOSTS", text)
            for text in ('"a.example"', '"a.example","b.example"', '["a.example"]', "a # b", "[x]")
        ],
        *[
            ("ALLOWED_HOSTS", f"api.example {text}")
            for text in (
                "https://a.example",
                "a.example:443",
                "*.a.example",
                "a.example.",
                "a.example/",
                "::1",
                "ä.example",
            )
        ],
        ("PORT", "८०००"),
        ("WORKERS", "-1"),
        ("MAX_BODY_BYTES", "10MB"),
        ("DATABASE_URL", "mysql://x"),
        ("GATEWAY_CONFIG", "/nowhere.yaml"),
        ("FIREBASE_CREDENTIALS", "/nowhere.json"),
        ("CORS_ORIGINS", "app.example.com"),
        ("LOG_FORMAT", "xml"),
        *[("DATA_DIR", text) for text in ("~/gateway", "~", "~gateway/data")],
        ("TLS_CERT", "/etc/ssl/gateway.pem"),
        ("TLS_KEY", "/etc/ssl/gateway.key"),
        ("ACCESS_LOG", "maybe"),
        ("INTERIM_RESPONSES", "maybe"),
        *[("KEEP_ALIVE_SECONDS", text) for text in ("0", "3601", "75s", "7.5")],
        *[("MAX_CONNECTIONS_PER_CLIENT", text) for text in ("-1", "many", "1.5", "10000000", "٣")],
        *[("RATE_LIMIT", text) for text in ("100", "0/m", "-1/m", "100/y", "m/100")],
        *[("COOKIE_PREFIX", text) for text in ("a b", "a;", "__Host-", "é", "=", "x" * 40)],
    ],
)
def test_an_invalid_value_is_a_fault_of_its_variable(name: str, text: str) -> None:
    found = faults(**GIVEN, **{name: text})
    assert [fault.partition(":")[0] for fault in found] == [name]


@pytest.mark.parametrize(("text", "limit"), [("0", 0), ("off", 0), ("1", 1), ("1000000", 1_000_000), ("", 1_000)])
def test_connections_per_client(text: str, limit: int) -> None:
    assert config.read({**GIVEN, "MAX_CONNECTIONS_PER_CLIENT": text}).server.max_connections_per_client == limit


def test_cookies_that_require_https_are_a_fault_under_debug() -> None:
    assert config.read({**GIVEN, "COOKIE_PREFIX": "__Host-gw_"}).cookie_prefix == "__Host-gw_"
    assert faults(DEBUG="on", COOKIE_PREFIX="__Host-gw_")[0].startswith("COOKIE_PREFIX: __Host-")


def test_what_files_of_windows_add_is_removed_or_a_fault() -> None:
    found = config.read({**GIVEN, "HOST": "0.0.0.0\r", "ALLOWED_HOSTS": "[::1], .example.com\r"})
    assert (found.server.host, found.allowed_hosts) == ("0.0.0.0", ("[::1]", ".example.com"))
    assert faults(**GIVEN, **{"\ufeffALLOWED_HOSTS": "a.example"}) == [
        "ALLOWED_HOSTS: its name begins with a byte order mark: save the file as UTF-8 without one"
    ]


def test_an_empty_variable_is_unset() -> None:
    assert config.read({**GIVEN, "REDIS_URL": " ", "PORT": ""}).server.port == 8000


def test_several_workers_require_redis() -> None:
    assert faults(**GIVEN, WORKERS="2")[0].startswith("WORKERS")
    assert config.read({**GIVEN, "WORKERS": "2", "REDIS_URL": "embedded"}).server.workers == 2


def test_the_emulator_is_refused_outside_debug() -> None:
    found = faults(**GIVEN, FIREBASE_AUTH_EMULATOR_HOST="127.0.0.1:9099", FIREBASE_PROJECT_ID="p")
    assert found[0].startswith("FIREBASE_AUTH_EMULATOR_HOST")


def test_users_of_firebase_are_looked_up_with_a_service_account_only(tmp_path: Path) -> None:
    given = {**GIVEN, "FIREBASE_PROJECT_ID": "p", "FIREBASE_CHECK_REVOKED": "on"}
    assert faults(**given)[0].startswith("FIREBASE_CHECK_REVOKED: requires FIREBASE_CREDENTIALS")
    account = tmp_path / "account.json"
    account.write_text("{}")
    assert config.read({**given, "FIREBASE_CREDENTIALS": str(account)}).firebase.check_revoked


def test_debug_generates_a_secret_key_and_keeps_it(data_dir: Path) -> None:
    first = config.read({"DEBUG": "1"}).secret_key
    assert len(first) > 40
    assert config.read({"DEBUG": "1"}).secret_key == first
    assert (data_dir / "secret_key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in data_dir.iterdir()] == ["secret_key"]


def test_a_secret_key_that_cannot_be_read_is_one_fault(tmp_path: Path) -> None:
    (file := tmp_path / "secret_key").mkdir()
    assert faults(DEBUG="1", DATA_DIR=str(tmp_path)) == [
        f"SECRET_KEY: {file}: Is a directory; set DATA_DIR to a directory of your own"
    ]


def test_a_secret_key_in_data_dir_is_used_and_none_is_made_unless_debug_is_on(tmp_path: Path) -> None:
    given = {"DATA_DIR": str(tmp_path / "own")}
    assert faults(**given)[0].startswith("SECRET_KEY: must be set unless DEBUG is on")
    assert not (tmp_path / "own").exists()
    made = config.read({**given, "DEBUG": "1"}).secret_key
    assert (tmp_path / "own").stat().st_mode & 0o777 == 0o700
    assert config.read(given).secret_key == made
    assert config.read({**given, "SECRET_KEY": "y" * 32}).secret_key == "y" * 32


def test_data_dir_has_the_database_unless_that_has_an_address(tmp_path: Path) -> None:
    awkward = tmp_path / "a b%20?#"
    read = config.read({**GIVEN, "DATA_DIR": str(awkward)})
    name = databases(read.database_url)["default"]["NAME"]
    assert (read.var, Path(name)) == (awkward, awkward / "gateway.sqlite3")
    elsewhere = config.read({**GIVEN, "DATA_DIR": str(awkward), "DATABASE_URL": f"sqlite:///{tmp_path}/x/db"})
    assert (elsewhere.var, elsewhere.database_url) == (awkward, f"sqlite:///{tmp_path}/x/db")
    assert config.read({**GIVEN, "DATABASE_URL": f"sqlite:///{tmp_path}/x/db"}).var == tmp_path / "x"
    file = tmp_path / "file"
    file.touch()
    assert faults(**GIVEN, DATA_DIR=str(file)) == [f"DATA_DIR: '{file}' is not a directory"]


def test_a_database_file_that_cannot_be_made_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationFault, match="set DATA_DIR to a directory") as caught:
        databases(f"sqlite:///{tmp_path}/file/under/gateway.sqlite3")
    assert str(tmp_path / "file") in caught.value.faults[0]


def test_a_services_secret_is_looked_up_by_name() -> None:
    read = config.read({**GIVEN, "GATEWAY_SECRET_SLACK_TOKEN": "t"})
    assert (read.secret("GATEWAY_SECRET_SLACK_TOKEN"), read.secret("GATEWAY_SECRET_OTHER")) == ("t", None)


def traces(**environment: str) -> Traces:
    found = config.read(GIVEN | environment).traces
    assert found is not None
    return found


COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/"}


def test_tracing_is_off_without_a_collector() -> None:
    assert config.read(GIVEN).traces is None
    assert config.read(GIVEN | {"OTEL_SERVICE_NAME": "edge"}).traces is None
    assert config.read(GIVEN | COLLECTOR | {"OTEL_SDK_DISABLED": "true"}).traces is None
    assert config.read(GIVEN | COLLECTOR | {"OTEL_TRACES_EXPORTER": "none"}).traces is None


def test_the_traces_endpoint_overrides_the_general_one() -> None:
    assert traces(**COLLECTOR).endpoint == "http://collector:4318/v1/traces"
    assert traces(**COLLECTOR, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="https://t/x").endpoint == "https://t/x"


def test_the_service_name_variable_takes_precedence_over_the_resource_attributes() -> None:
    assert traces(**COLLECTOR).resource == {"service.name": "intelligence-gateway"}
    attributes = "service.name=other,deployment.environment.name=a%20b"
    assert traces(**COLLECTOR, OTEL_RESOURCE_ATTRIBUTES=attributes, OTEL_SERVICE_NAME="edge").resource == {
        "service.name": "edge",
        "deployment.environment.name": "a b",
    }


@pytest.mark.parametrize(
    ("sampler", "argument", "ratio", "follows"),
    [
        ("", "", 1.0, True),
        ("always_on", "", 1.0, False),
        ("always_off", "", 0.0, False),
        ("parentbased_always_off", "", 0.0, True),
        ("traceidratio", "0.25", 0.25, False),
        ("parentbased_traceidratio", "0.1", 0.1, True),
    ],
)
def test_the_sampler_is_read_as_opentelemetry_specifies(
    sampler: str, argument: str, ratio: float, follows: bool
) -> None:
    sampling = traces(**COLLECTOR, OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=argument).sampling
    assert (sampling.ratio, sampling.parent_based) == (ratio, follows)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://collector"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_RESOURCE_ATTRIBUTES", "name"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "511"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0"),
    ],
)
def test_an_invalid_tracing_variable_is_a_fault(name: str, text: str) -> None:
    found = faults(**GIVEN | COLLECTOR | {name: text})
    assert [fault.partition(":")[0] for fault in found] == [name]


def test_the_sampling_ratio_is_a_number_from_0_to_1() -> None:
    for text in ("many", "1.5", "-0.1", "nan"):
        found = faults(**GIVEN, **COLLECTOR, OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG=text)
        assert found[0].startswith("OTEL_TRACES_SAMPLER_ARG: ")


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        (COLLECTOR, "OTEL_EXPORTER_OTLP_ENDPOINT: tracing needs an optional dependency: {}otel.txt"),
        ({"FIREBASE_PROJECT_ID": "p"}, "FIREBASE_PROJECT_ID: Firebase needs an optional dependency: {}firebase.txt"),
        ({"DATABASE_URL": "postgres://h/n"}, "DATABASE_URL: PostgreSQL needs an optional dependency: {}postgres.txt"),
    ],
)
def test_a_setting_without_its_optional_dependency_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], fault: str
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _name: None)
    assert faults(**GIVEN, **variables) == [fault.format("pip install -r requirements-")]


def test_a_database_of_countries_is_told_from_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "countries.mmdb"
    file.write_bytes(database({"192.0.2.0/24": "DE"}))
    found = config.read({**GIVEN, "GEOIP_DATABASE": str(file)})
    assert found.geoip_database == file
    archive = tmp_path / "countries.tar.gz"
    archive.write_bytes(b"\x1f\x8b" + bytes(100))
    assert "is not a MaxMind DB file (.mmdb)" in faults(**GIVEN, GEOIP_DATABASE=str(archive))[0]
    assert "is not a file" in faults(**GIVEN, GEOIP_DATABASE=str(tmp_path))[0]
    monkeypatch.setattr(extras, "find_spec", lambda _name: None)
    (fault,) = faults(**GIVEN, GEOIP_DATABASE=str(file))
    assert fault == "GEOIP_DATABASE: it needs an optional dependency: pip install -r requirements-geoip.txt"


def test_client_certificates_need_proxies_and_authorities_that_can_be_read(tmp_path: Path) -> None:
    proxies = {"TRUSTED_PROXIES": "10.0.0.0/8"}
    assert faults(CLIENT_CERTIFICATES="xfcc") == [
        "SECRET_KEY: must be set unless DEBUG is on",
        "CLIENT_CERTIFICATES: requires TRUSTED_PROXIES, which alone may forward certificates",
    ]
    file = tmp_path / "ca.pem"
    file.write_text("not PEM")
    for given, message in (
        ({"CLIENT_CERTIFICATES": "nginx"}, "must be xfcc, client-cert, or pem"),
        ({"CLIENT_CA": str(file), "CLIENT_CERTIFICATES": "xfcc"}, "does not contain certificates in PEM"),
        ({"CLIENT_CA": "/nowhere", "CLIENT_CERTIFICATES": "xfcc"}, "is not a file"),
    ):
        assert message in " ".join(faults(**GIVEN, **proxies, **given))
    file.write_text(certificates.authority().pem)
    assert faults(**GIVEN, CLIENT_CA=str(file)) == ["CLIENT_CA: requires CLIENT_CERTIFICATES"]
    assert config.read({**GIVEN, "CLIENT_CA": " ", "CLIENT_CRL": "\r"}).client_crl is None
    lists = tmp_path / "revoked.pem"
    lists.write_bytes(certificates.revocations(certificates.authority()))
    assert "CLIENT_CRL: requires CLIENT_CA, whose certificates it is of" in faults(**GIVEN, CLIENT_CRL=str(lists))
    assert "no list of revoked certificates in PEM or DER" in faults(**GIVEN, CLIENT_CRL=str(file))[0]
    read = config.read({**GIVEN, **proxies, "CLIENT_CERTIFICATES": "pem X-Cert", "CLIENT_CA": str(file)})
    assert read.certificates is not None
    assert (read.certificates.field, read.certificates.roots) == ("x-cert", file.read_bytes())
