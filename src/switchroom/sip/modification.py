"""Changes to a session under way: re-INVITE and UPDATE, from here and from the peer (RFC 3261 §14, RFC 3311)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from .offer_exchange import WITHDRAW

if TYPE_CHECKING:
    from .client_request import ClientRequest
    from .clock import Alarm
    from .invite_dialog import InviteDialog
    from .message import Request, Response
    from .session import Session
    from .transaction import ServerTransaction

OWNER_LEAST: Final = 2.1
OWNER_MOST: Final = 4.0
OTHER_MOST: Final = 2.0


def glare_delay(initiator: bool, fraction: float) -> float:
    """Seconds to wait after a 491 (§14.1), in units of 10 ms, for a random *fraction* in [0, 1).

    The owner of the Call-ID waits 2.1 to 4 s, the other side 0 to 2 s, so that one of them wins.
    """
    if initiator:
        return round(OWNER_LEAST + round(fraction * (OWNER_MOST - OWNER_LEAST), 2), 2)
    return round(fraction * OTHER_MOST, 2)


class OutgoingModification:
    """A re-INVITE or UPDATE of ours, through any number of 491 to its outcome in `ModificationCompleted`.

    `refresh` marks the one that the session timer sends by itself.
    """

    __slots__ = (
        "ack",
        "body",
        "content_type",
        "handle",
        "headers",
        "leg",
        "method",
        "offers",
        "refresh",
        "request",
        "session",
    )

    def __init__(
        self,
        session: Session,
        leg: InviteDialog,
        method: str,
        body: bytes,
        content_type: str | None,
        headers: tuple[tuple[str, str], ...],
        *,
        refresh: bool = False,
    ) -> None:
        self.session = session
        self.leg = leg
        self.method = method
        self.body = body
        self.content_type = content_type
        self.headers = headers
        self.refresh = refresh
        self.offers = False
        self.handle: ClientRequest | None = None
        self.request: Request | None = None
        """The one that was accepted, once it was."""
        self.ack: Request | None = None

    def withdraw(self) -> None:
        """It was refused, or its dialog is over: its offer is as if it had never been made (§14.1)."""
        self.handle = None
        if self.offers:
            self.offers = False
            self.leg.exchange.step(WITHDRAW)

    def acknowledge(self, now: float, body: bytes = b"", content_type: str | None = "application/sdp") -> None:
        """Send the ACK of a re-INVITE whose 2xx carried an offer, with the answer to it."""
        self.session.acknowledge_modification(self, now, body, content_type)


class IncomingModification:
    """A re-INVITE, UPDATE or PRACK of the peer that the application decides about, once."""

    __slots__ = ("done", "leg", "patience", "request", "session", "transaction")

    def __init__(self, session: Session, leg: InviteDialog, transaction: ServerTransaction, request: Request) -> None:
        self.session = session
        self.patience: Alarm | None = None
        """Goes off when the application has not decided in time."""
        self.leg = leg
        self.transaction = transaction
        self.request = request
        self.done = False
        """Whether it was answered, or withdrawn by the peer."""

    def settle(self) -> None:
        """There is nothing to decide any more."""
        self.done = True
        if self.patience is not None:
            self.patience.release()
            self.patience = None

    def accept(
        self,
        now: float,
        body: bytes = b"",
        content_type: str | None = "application/sdp",
        headers: Iterable[tuple[str, str]] = (),
    ) -> Response:
        """Answer 200, with the answer to the offer, or with an offer when the re-INVITE had none."""
        return self.session.answer_modification(self, now, 200, None, tuple(headers), body, content_type)

    def reject(
        self,
        now: float,
        status: int = 488,
        reason: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> Response:
        """Refuse: the session goes on as before (§14.2, RFC 3311 §5.2)."""
        return self.session.answer_modification(self, now, status, reason, tuple(headers), b"", None)
