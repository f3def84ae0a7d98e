"""What can go wrong, and whose fault it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .message import Request


class SipError(Exception):
    """Base class of every error that the SIP core and its drivers raise."""


class LocalProtocolError(SipError):
    """The caller asked for something that the protocol forbids in this state: a bug on this side."""


class RemoteProtocolError(SipError):
    """The peer sent something that the protocol forbids.

    `status_hint` is the response that a server owes for it (400, 413, 416, 420, 482, 483, 505, 513, ...), or
    None where RFC 3261 says to discard.  `request` is what `parse`, `validate` and `StreamFramer` could read of a
    broken request, as far as a response to it copies that (§8.2.6.2): answer with
    `error.request.create_response(error.status_hint)`.  It is None when no response can or may be sent.
    """

    def __init__(self, message: str, status_hint: int | None = 400) -> None:
        super().__init__(message)
        self.status_hint = status_hint
        self.request: Request | None = None


class ParseError(RemoteProtocolError):
    """Bytes that are no SIP message, or a header field whose value is malformed."""


class LimitExceeded(RemoteProtocolError):
    """A named bound was hit; `limit_name` is the field of `Limits` that holds it."""

    def __init__(self, message: str, status_hint: int | None, limit_name: str) -> None:
        super().__init__(message, status_hint)
        self.limit_name = limit_name


class TransportError(SipError):
    """A message could not be carried: refused, reset, timed out, no route, no address, certificate refused."""
