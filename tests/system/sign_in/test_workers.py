"""Two workers over Redis, and people of the portal."""

import contextlib
from urllib.parse import quote

from tests.openid_provider import OpenIDProvider, serving_openid
from tests.system.sign_in.conftest import PASSWORD, Site, environment, gateway
from tests.system.sign_in.test_passwords import code_of, confirm, set_up

_INVITE = """
from routing.database.members import invite
from routing.models import Consumer, Plan
consumer = Consumer.objects.create(name="acme", plan=Plan.objects.create(name="free"))
print(invite(consumer, "grace@example.com", "member")[1])
"""


def test_a_sign_in_may_reach_another_worker_at_each_step(redis_url: str) -> None:
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(serving_openid(OpenIDProvider()))
        server = gateway(environment(provider, REDIS_URL=redis_url), "--workers", "2")
        site = Site(stack.enter_context(server), provider)
        for _ in range(6):
            visitor = site.visitor()
            visitor.session.headers["Connection"] = "close"  # another connection, and often another worker, each time
            assert visitor.sign_in("/dashboard/").headers["Location"] == "/dashboard/"
            assert visitor.get("/dashboard/").status_code == 200
        other = site.visitor()
        other.session.headers["Connection"] = "close"
        other.log_in(PASSWORD, "olga")
        confirm(other, other.get("/accounts/second-factor/set-up/", follow=False))
        key, *_ = set_up(other)
        again = site.visitor()
        again.session.headers["Connection"] = "close"
        again.log_in(PASSWORD, "olga")
        again.post("/accounts/second-factor/", code=code_of(key, 1))
        assert again.is_signed_in
        again.post("/accounts/sessions/", page="/accounts/")
        assert [other.is_signed_in for _ in range(4)] == [False] * 4


def test_people_of_the_portal_join_and_sign_in_without_a_role() -> None:
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(serving_openid(OpenIDProvider()))
        server = gateway(environment(provider))
        secret = server.manage("shell", "--no-imports", "-c", _INVITE).split()[-1]
        site = Site(stack.enter_context(server), provider)
        provider.person = {"sub": "grace", "preferred_username": "grace"}
        link, visitor = f"/portal/invitations/{secret}/", site.visitor()
        page = visitor.get(f"/portal/login/?next={link}")
        assert page.url.endswith(f"/accounts/login/?next={quote(link, safe='')}")
        assert visitor.sign_in(link).headers["Location"] == link
        assert visitor.get("/dashboard/").status_code == 403
        joined = visitor.post(link, join="1")
        assert joined.headers["Location"] == "/portal/", joined.text
        assert visitor.get("/portal/").status_code == 200
        assert not site.is_staff("grace")

        out = visitor.post("/portal/logout/", page="/portal/", follow=True)
        assert f"0; url={provider.issuer}/logout?" in out.text
        assert not visitor.is_signed_in

        again = site.visitor()
        assert again.sign_in().headers["Location"] == "/portal/"
        assert again.get("/admin/").status_code == 403 or "/portal/" in again.get("/admin/").url
        assert again.get("/metrics").status_code == 403
        stranger = site.visitor()
        provider.person = {"sub": "stranger"}
        assert stranger.sign_in("/dashboard/").status_code == 403
