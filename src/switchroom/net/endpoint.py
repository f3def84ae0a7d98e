"""The endpoint: one SIP element's transports, its transaction layer, and the users on top of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..sip.flow import Flow
from ..sip.identifiers import Identifiers
from ..sip.orders import TransactionUser
from ..sip.timers import TimerValues
from .dns import Resolver
from .tap import Tap

if TYPE_CHECKING:
    from ..sip.layer import ServerTransaction
    from ..sip.message import Message, Request, Response
    from ..sip.uri import Uri

Chooser = Callable[["Request", Flow], TransactionUser | None]


class IncomingRequest:
    """A request that a simple handler answers."""

    __slots__ = ("endpoint", "flow", "request", "transaction")
    endpoint: Endpoint
    request: Request
    flow: Flow
    transaction: ServerTransaction

    def respond(
        self,
        status: int,
        reason: str | None = None,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> Response:
        raise NotImplementedError


class Endpoint:
    """The transports of one SIP element, its transaction layer, and the transaction users it serves."""

    def __init__(
        self,
        listen: Sequence[str] = (),
        users: Iterable[TransactionUser] = (),
        *,
        chooser: Chooser | None = None,
        resolver: Resolver | None = None,
        wall: Callable[[], float] = time.time,
        identifiers: Identifiers | None = None,
        tap: Tap | None = None,
        timers: TimerValues = TimerValues(),
        advertise: str | None = None,
    ) -> None:
        raise NotImplementedError

    tap: Tap

    @property
    def listeners(self) -> tuple[Any, ...]: ...
    async def start(self) -> None: ...
    async def close(self, grace: float = 2.0) -> None: ...
    async def __aenter__(self) -> Endpoint:
        raise NotImplementedError

    async def __aexit__(self, *exc_info: object) -> None: ...
    def on(self, method: str) -> Callable[[Callable[[IncomingRequest], object]], Callable[[IncomingRequest], object]]:
        raise NotImplementedError

    def run_user(self, user: TransactionUser, on_event: Callable[[object], object] | None = None) -> None:
        """Attach a transaction user: it is driven by the endpoint (events in, orders out)."""

    def flush(self) -> None:
        """Carry out what the users ask for by now: call it after calling a user's own methods."""

    async def request(self, request: Request, destination: Flow | Uri | None = None) -> Response:
        raise NotImplementedError

    def send_stateless(self, message: Message, destination: Flow | Uri | None = None) -> None: ...
