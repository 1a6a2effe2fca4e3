"""The resolutions that a process remembers: what follows from a request's head is computed once."""

from collections.abc import Callable
from typing import Final

from resilience.memo import TwoGenerationMemo
from routing.authentication.key_fields import rename_key_field
from routing.http import Headers, Request, SharedFields
from routing.messages import validation
from routing.router.hosts import AllowedHosts
from routing.router.live import LiveConfiguration
from routing.router.resolution import ANY_HOST, LONGEST, CredentialState, Resolution, Steps

REMEMBERED: Final = 4_096
"""Resolutions, and credential states, in each of two generations."""

_Identity = tuple[str, bytes, bytes, str, bytes | None, bytes | None, bytes | None, bytes | None, bytes | None]


class ResolutionCache:
    """One process's resolutions, all forgotten when the configuration or the keys change.

    `compile_steps` makes a resolution's list of steps, given the request's method.
    """

    def __init__(
        self,
        live: LiveConfiguration,
        compile_steps: Callable[[Resolution, str], Steps] = lambda _resolution, _method: (),
        allowed_hosts: AllowedHosts = ANY_HOST,
    ) -> None:
        self._live = live
        self._allowed_hosts = allowed_hosts
        self._compile = compile_steps
        self._table, self._keys = live.table, live.keys
        self._known: TwoGenerationMemo[_Identity, Resolution] = TwoGenerationMemo(REMEMBERED)
        self._credentials: TwoGenerationMemo[tuple[bytes | None, bytes | None], CredentialState] = TwoGenerationMemo(
            REMEMBERED
        )
        self._epoch = object()

    def of(self, request: Request) -> Resolution:
        """The resolution of a well-formed request. Raises BadRequest, HeadersTooLarge, TargetTooLong or
        MisdirectedRequest.
        """
        live, head = self._live, request.shared_head
        if self._table is not live.table or self._keys is not live.keys:
            self._table, self._keys = live.table, live.keys
            self._known.clear()
            self._credentials.clear()
            self._epoch = object()
        if head is None:
            rename_key_field(request)
        if head is None or request.caller is not None:
            return self._by_identity(request)
        if head.epoch is not self._epoch:
            head.resolution, head.epoch = self._by_fields(request, head.shared_fields), self._epoch
        resolution: Resolution = head.resolution
        return resolution

    def _by_fields(self, request: Request, shared: SharedFields) -> Resolution:
        """Without validating the header fields again, where a request with the same ones was well formed."""
        if shared.epoch is self._epoch:
            resolution = Resolution.resolve_target(request, self._table, shared.credential_state, self._allowed_hosts)
            resolution.steps = self._compile(resolution, request.method)
            return resolution
        resolution = self._by_identity(request)
        shared.credential_state, shared.epoch = resolution.credential_state.base, self._epoch
        return resolution

    def _by_identity(self, request: Request) -> Resolution:
        fields = request.fields
        if (
            len(fields) != len(request.headers)
            or request.caller is not None
            or b"transfer-encoding" in fields
            or request.has_empty_query
        ):
            return self._resolve(request, None)  # depends on more than the memo's key
        identity = (
            request.method,
            request.path,
            request.query,
            request.version,
            fields.get(b"host"),
            fields.get(b"authorization"),
            fields.get(b"x-api-key"),
            fields.get(b"cookie"),
            fields.get(b"connection"),  # which may keep a credential from the backend
        )
        resolution = self._known.get(identity)
        if resolution is not None:
            validation.validate_size(request.headers)
            return resolution
        resolution = self._resolve(request, self._credential_state(fields, request.headers))
        if sum([len(part) for part in identity if part]) <= LONGEST:
            self._known.put(identity, resolution)
        return resolution

    def _resolve(self, request: Request, credential_state: CredentialState | None) -> Resolution:
        resolution = Resolution.resolve(request, self._live.table, credential_state, self._allowed_hosts)
        resolution.steps = self._compile(resolution, request.method)
        return resolution

    def _credential_state(self, fields: dict[bytes, bytes], headers: Headers) -> CredentialState:
        """The credential state of a request that repeats no header field."""
        sent = fields.get(b"authorization"), fields.get(b"x-api-key")
        state = self._credentials.get(sent)
        if state is None:
            state = CredentialState(headers)
            if sum([len(part) for part in sent if part]) <= LONGEST:
                self._credentials.put(sent, state)
        return state
