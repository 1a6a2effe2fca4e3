"""The TLS settings of a service or a target."""

from enum import StrEnum

import msgspec


class TlsVersion(StrEnum):
    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


class TlsPolicy(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """How targets are verified, and by which certificate the gateway authenticates itself. Empty texts are unset.

    `ca`: the only authorities that are trusted, in PEM; unset: those of the system. `certificate` and `key`: the
    gateway's own certificate with its chain, and its private key, in PEM. `server_name`: the name in the certificate of
    the target, and in SNI; unset: the host of the target's URL. `minimum` unset is TLS 1.2.
    """

    ca: str = ""
    certificate: str = ""
    key: str = ""
    server_name: str = ""
    minimum: TlsVersion | None = None

    def __repr__(self) -> str:
        """Without the key and the certificates."""
        names = [name for name in self.__struct_fields__ if getattr(self, name)]
        return f"TlsPolicy({', '.join(names)})"

    def over(self, base: "TlsPolicy") -> "TlsPolicy":
        """These settings on top of `base`. A certificate and its key are replaced together."""
        pair = self if self.certificate else base
        return TlsPolicy(
            ca=self.ca or base.ca,
            certificate=pair.certificate,
            key=pair.key,
            server_name=self.server_name or base.server_name,
            minimum=self.minimum or base.minimum,
        )
