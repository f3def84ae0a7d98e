"""Requests for simple handlers: functions that are given a request and answer it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final

from ..sip.errors import LocalProtocolError
from ..sip.flow import Flow
from ..sip.message import Request, Response
from ..sip.transaction import ServerTransaction

if TYPE_CHECKING:
    from .endpoint import Endpoint

Handler = Callable[["IncomingRequest"], Awaitable[object] | object]
"""`def` or `async def`; what it returns is ignored."""

KNOWN_METHODS: Final = frozenset(
    (
        "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "PRACK", "SUBSCRIBE", "NOTIFY", "PUBLISH", "INFO",
        "REFER", "MESSAGE", "UPDATE",
    )
)  # fmt: skip
"""Methods that exist: one of them that nobody here handles is answered 405, any other word 501 (RFC 3261 §8.2.1)."""


class IncomingRequest:
    """A request, and the means to answer it."""

    __slots__ = ("_answered", "_endpoint", "_tag", "flow", "request", "task", "transaction")

    def __init__(
        self, endpoint: Endpoint, request: Request, flow: Flow, transaction: ServerTransaction | None, tag: str
    ) -> None:
        self._endpoint = endpoint
        self._tag = tag
        self._answered = False
        self.request = request
        self.flow = flow
        self.transaction = transaction
        """None for an ACK, which is not answered."""
        self.task: asyncio.Task[None] | None = None
        """What runs the coroutine handler."""

    @property
    def answered(self) -> bool:
        """Whether a final response was given."""
        return self._answered

    @property
    def endpoint(self) -> Endpoint:
        """Where the request came in."""
        return self._endpoint

    def respond(
        self,
        status: int,
        reason: str | None = None,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> Response:
        """Send a response, provisional ones as often as needed, then one final one; returns what was sent.

        A Contact whose host is 0.0.0.0 gets the address that the peer reaches us by.  Raises LocalProtocolError after
        the final response, and for an ACK.
        """
        if self.transaction is None:
            raise LocalProtocolError("an ACK is not answered (RFC 3261 §17)")
        if self._answered:
            raise LocalProtocolError("the request has its final response already")
        tag = self._tag if status > 100 else None
        response = self.request.create_response(
            status, reason, to_tag=tag, headers=headers, body=body, content_type=content_type
        )
        self._answered = status >= 200
        self._endpoint.send_response(self.transaction, response)
        return response
