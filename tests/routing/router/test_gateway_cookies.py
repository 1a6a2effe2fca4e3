import pytest

from routing.router.gateway_cookies import GatewayCookies

NAMES = frozenset({b"sessionid", b"csrftoken"})
PATH_FORM = b"/api/v1/crm"
SENT = b"a=1; sessionid=s; csrftoken=t;b=2"


@pytest.mark.parametrize(
    ("prefix", "host", "withheld"),
    [
        (PATH_FORM, b"gateway.test", True),
        (PATH_FORM, b"crm.test", True),
        (PATH_FORM, b"", True),
        (b"", b"crm.test", False),
        (b"", b"CRM.test.:8443", False),
        (b"", b"[::2]:80", False),
        (b"", b"app.wide.test", False),  # allowed by a pattern alone
        (b"", b"gateway.test", True),
        (b"", b"GATEWAY.test.:8443", True),
    ],
)
def test_the_backend_may_use_the_names_at_a_host_of_its_own(prefix: bytes, host: bytes, withheld: bool) -> None:
    own = GatewayCookies(NAMES, ["Gateway.test", ".wide.test", "*"]).at(prefix, host)
    assert own.strip(SENT) == (b"a=1;b=2" if withheld else SENT)
    assert own.permits(b"sessionid=theirs; Path=/") is not withheld


def test_cookies_of_a_whole_domain_are_withheld_everywhere() -> None:
    own = GatewayCookies(NAMES, have_domain=True).at(b"", b"crm.test")
    assert own.strip(SENT) == b"a=1;b=2"
    assert not own.permits(b"sessionid=theirs")


@pytest.mark.parametrize("prefix", [PATH_FORM, b""])
def test_no_backend_sets_them_for_other_hosts(prefix: bytes) -> None:
    own = GatewayCookies(NAMES).at(prefix, b"crm.test")
    assert not own.permits(b"csrftoken=theirs; path=/; DOMAIN = .test")
    assert not own.permits(b"= sessionid =theirs; domain")
    assert own.permits(b"theme=dark; Domain=test")
    assert own.permits(b"sessionid2=x")
