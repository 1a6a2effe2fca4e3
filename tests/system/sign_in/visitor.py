"""A browser without a window, which signs in to a gateway by its forms."""

import re
from ipaddress import ip_address
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import requests

_addresses = count()
_FIRST = ip_address("10.0.0.1")
_CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


class Visitor:
    """Follows redirects only where it is told to, so that each step can be looked at or replaced."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.session = requests.Session()
        # Each has an address of its own, by which failed attempts are counted.
        self.session.headers["X-Forwarded-For"] = str(_FIRST + next(_addresses))

    def get(self, path: str, *, follow: bool = True, **more: Any) -> requests.Response:
        return self.session.get(self._url(path), allow_redirects=follow, timeout=30, **more)

    def post(self, path: str, *, page: str | None = None, follow: bool = False, **form: str) -> requests.Response:
        """Send the form of `page` (by default that of `path` itself)."""
        token = _CSRF.search(self.get(page or path).text)
        assert token is not None, f"{page or path} has no form"
        data = {"csrfmiddlewaretoken": token[1], **form}
        headers = {"Referer": self._url(page or path)}
        return self.session.post(self._url(path), data=data, headers=headers, allow_redirects=follow, timeout=30)

    def begin(self, next_path: str = "") -> str:
        """The provider's address to which the login page leads."""
        response = self.post("/accounts/provider/", page="/accounts/login/", next=next_path)
        assert response.status_code == 303, response.text
        return response.headers["Location"]

    def callback(self, next_path: str = "") -> str:
        """The address to which the provider leads back, not visited yet."""
        response = self.session.get(self.begin(next_path), allow_redirects=False, timeout=30)
        return response.headers["Location"]

    def sign_in(self, next_path: str = "") -> requests.Response:
        """Sign in with the provider. The response is the callback's own."""
        return self.get(self.callback(next_path), follow=False)

    def log_in(self, password: str, username: str = "ada", next_path: str = "") -> requests.Response:
        return self.post("/accounts/login/", username=username, password=password, next=next_path)

    @property
    def is_signed_in(self) -> bool:
        return self.get("/accounts/", follow=False).status_code == 200

    def _url(self, path: str) -> str:
        return path if urlsplit(path).scheme else self.address + path
