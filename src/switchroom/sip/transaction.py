"""Transactions of RFC 3261 §17 (tables follow)."""

from __future__ import annotations

from collections.abc import Hashable

from .flow import Flow
from .message import Request
from .timers import Timed


class Transaction(Timed):
    """One transaction; `flow` is where its messages go, `request` what began it (None once no longer needed)."""

    __slots__ = ("flow", "key", "method", "request", "state", "wire")

    def __init__(self, key: str, method: str, flow: Flow) -> None:
        super().__init__()
        self.key = key
        self.method = method
        self.flow = flow
        self.request: Request | None = None
        self.state = 0
        self.wire = b""


class ClientTransaction(Transaction):
    """A request of ours and its responses (RFC 3261 §17.1); `sender` is the transaction user's own mark."""

    __slots__ = ("branch", "sender")

    def __init__(self, key: str, method: str, flow: Flow, branch: str, sender: Hashable) -> None:
        super().__init__(key, method, flow)
        self.branch = branch
        self.sender = sender


class ServerTransaction(Transaction):
    """A request of the peer's and our responses (RFC 3261 §17.2)."""

    __slots__ = ()
