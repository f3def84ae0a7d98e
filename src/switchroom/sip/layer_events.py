"""What the transaction layer tells the transaction user (layer.py hands these out by `take_events`)."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from .errors import RemoteProtocolError, SipError
from .flow import Flow
from .message import Request, Response
from .transaction import ClientTransaction, ServerTransaction


class RequestReceived(NamedTuple):
    """A new request: answer it with `send_response(transaction, ...)`.  An unmatched CANCEL comes here too."""

    transaction: ServerTransaction
    request: Request
    flow: Flow


class AckReceived(NamedTuple):
    """The ACK for a 2xx, or an ACK that belongs to no transaction: there is nothing to answer."""

    request: Request
    flow: Flow


class CancelReceived(NamedTuple):
    """The peer cancels the INVITE of `transaction`, which still waits for a final response: send 487.

    `request` is the CANCEL, already answered 200 (RFC 3261 §9.2).
    """

    transaction: ServerTransaction
    request: Request


class ResponseReceived(NamedTuple):
    """A response to a request of ours: any number of provisional ones, then one final; of 2xx to INVITE all.

    `transaction` is None when the driver answers a request that was cancelled before it was sent.
    """

    transaction: ClientTransaction | None
    response: Response
    sender: Hashable


class RequestTimedOut(NamedTuple):
    """No final response in time: timer B or F, or 64*T1 after the CANCEL (RFC 3261 §9.1); treat it as 408."""

    transaction: ClientTransaction
    sender: Hashable


class RequestFailed(NamedTuple):
    """The transport could not carry the request; treat it as 503 (RFC 3261 §8.1.3.1).

    `transaction` is None when it was never sent: there was no next hop, or no way to it.
    """

    transaction: ClientTransaction | None
    error: SipError
    sender: Hashable


class ResponseFailed(NamedTuple):
    """A response could not be carried, was never acknowledged (timer H), or none was given in 64*T1 (not INVITE)."""

    transaction: ServerTransaction
    error: SipError


class FlowRejected(NamedTuple):
    """What came on this stream cannot be framed: flush the output, then close it."""

    flow: Flow
    error: RemoteProtocolError


class KeepAlive(NamedTuple):
    """The peer of a stream sent a CRLF keep-alive: a ping (answered already), or the pong to one of ours."""

    flow: Flow
    pong: bool


Event = (
    RequestReceived
    | AckReceived
    | CancelReceived
    | ResponseReceived
    | RequestTimedOut
    | RequestFailed
    | ResponseFailed
    | FlowRejected
    | KeepAlive
)
