"""The OpenSSL contexts of connections to targets: one for each distinct policy."""

import asyncio
import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Final

from routing.tls.pem import certificate_blocks, key_block
from routing.tls.policy import TlsPolicy, TlsVersion

MAX_CONTEXTS: Final = 512
"""Contexts that are kept, some 50 kB each; those used least recently are dropped."""
_VERSIONS: Final = {TlsVersion.TLS_1_2: ssl.TLSVersion.TLSv1_2, TlsVersion.TLS_1_3: ssl.TLSVersion.TLSv1_3}


class TlsContexts:
    """Contexts by policy; `default` is that of targets without one, which is created on first use if it is None."""

    def __init__(self, default: ssl.SSLContext | None = None) -> None:
        self._default = default
        self._contexts: dict[TlsPolicy, ssl.SSLContext] = {}

    async def get(self, policy: TlsPolicy | None) -> ssl.SSLContext:
        """New ones are made in a thread: loading the system's authorities takes some milliseconds.

        Raises ssl.SSLError for what OpenSSL refuses.
        """
        if policy is None:
            if self._default is None:
                self._default = create_context(None)
            return self._default
        context = self._contexts.pop(policy, None)
        if context is None:
            context = await asyncio.to_thread(create_context, policy)
        self._contexts[policy] = context
        while len(self._contexts) > MAX_CONTEXTS:
            del self._contexts[next(iter(self._contexts))]
        return context


def create_context(policy: TlsPolicy | None) -> ssl.SSLContext:
    """A client's context for HTTP/1.1. Verification cannot be switched off.

    Raises ssl.SSLError for what OpenSSL refuses, such as keys that are too short.
    """
    policy = policy or TlsPolicy()
    context = ssl.create_default_context(cadata=certificate_blocks(policy.ca) or None)
    context.set_alpn_protocols(["http/1.1"])
    _load(context, policy)
    return context


@lru_cache(maxsize=MAX_CONTEXTS)
def refusal(policy: TlsPolicy) -> str:
    """Why OpenSSL refuses the certificates or the key of a policy that has no other fault; empty if it does not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if policy.ca:
            context.load_verify_locations(cadata=certificate_blocks(policy.ca))
        _load(context, policy)
    except ssl.SSLError as error:
        return f"OpenSSL refuses it: {(error.reason or 'not valid').lower().replace('_', ' ')}"
    return ""


def _load(context: ssl.SSLContext, policy: TlsPolicy) -> None:
    if policy.ca:
        # An issuing authority is trusted without its root, and a certificate of the target as itself.
        context.verify_flags = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    if policy.minimum is not None:
        context.minimum_version = _VERSIONS[policy.minimum]
    if policy.certificate:
        identity = certificate_blocks(policy.certificate) + key_block(policy.key)
        with _as_file(identity.encode()) as path:
            context.load_cert_chain(path, password="")  # never asks on the terminal


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """The path of a file that has the content: OpenSSL's API in Python reads keys from files only.

    It is in memory, and has no name that anybody else could open, where the system can do so.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
    else:  # pragma: no cover - not on Linux
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name
