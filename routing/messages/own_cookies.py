"""The gateway's own cookies in requests for backends, and in their responses."""

import msgspec

from routing.messages.staff_origin import has_domain


class OwnCookies(msgspec.Struct, frozen=True):
    """`names` are those of the cookies of the gateway's pages. `may_be_sent`: browsers may have them for the request's
    host. If not, cookies with these names are the backend's.
    """

    names: frozenset[bytes] = frozenset()
    may_be_sent: bool = True

    def strip(self, value: bytes) -> bytes:
        """A Cookie field without them: a backend must not obtain a staff session."""
        if not self.may_be_sent or not any(name in value for name in self.names):
            return value
        kept = [pair for pair in value.split(b";") if pair.partition(b"=")[0].strip() not in self.names]
        return b";".join(kept).strip()

    def permits(self, set_cookie: bytes) -> bool:
        """Whether a backend may set this cookie. One with a `Domain` is sent to other hosts too, and the gateway's may
        be among them.
        """
        # Of a cookie without a name, browsers send the value alone.
        name = set_cookie.lstrip(b"= \t").partition(b"=")[0].strip()
        return name not in self.names or not (self.may_be_sent or has_domain(set_cookie))
