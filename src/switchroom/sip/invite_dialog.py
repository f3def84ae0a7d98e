"""One dialog of a session, with the offers, answers and acknowledgements that travel in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .headers import SESSION_EXPIRES
from .offer_exchange import OfferExchange, has_description
from .reliable_provisional import ProvisionalOrder
from .session_events import Carries

if TYPE_CHECKING:
    from .dialog import Dialog
    from .message import Message, Request, Response


class InviteDialog:
    """One dialog of a session with its offer/answer state: a forked INVITE has several, an answered one just one."""

    __slots__ = (
        "_offered",
        "ack",
        "ack_owed",
        "allow",
        "bye_headers",
        "byes",
        "closed",
        "description",
        "dialog",
        "exchange",
        "order",
        "prack_due",
    )

    def __init__(self, dialog: Dialog) -> None:
        self.dialog = dialog
        self.exchange = OfferExchange()
        self.order = ProvisionalOrder()
        self.ack: Request | None = None
        """The ACK that answers each repetition of the 2xx."""
        self.ack_owed = False
        """A 2xx with an offer arrived; the application has not given the answer yet."""
        self.prack_due: Response | None = None
        """A reliable provisional response with an offer that awaits its answer."""
        self.allow: tuple[str, ...] = ()
        """The methods that the peer said it takes."""
        self.bye_headers: tuple[tuple[str, str], ...] | None = None
        """A BYE that waits for the ACK (§15)."""
        self.byes = 0
        """How often our BYE was sent."""
        self.closed = False
        """Whether the session has left the dialog."""
        self.description: tuple[bytes, str] | None = None
        """The last description of ours that holds."""
        self._offered: tuple[bytes, str] | None = None

    def sent(self, message: Message) -> Carries:
        """A reliable message of ours goes out; says what its description is."""
        carries = self.exchange.sent(message)
        if carries is Carries.OFFER:
            self._offered = _description(message)
        elif carries is Carries.ANSWER:
            self.description = _description(message)
        return carries

    def received(self, message: Message, *, offer_allowed: bool = True) -> Carries:
        """A reliable message of the peer came in; says what its description is."""
        carries = self.exchange.received(message, offer_allowed=offer_allowed)
        if carries is Carries.ANSWER:
            self.description = self._offered
        return carries

    def learn(self, message: Message) -> None:
        """Take note of what the peer says it allows."""
        allow = message.allow
        if allow:
            self.allow = allow


def read_success(response: Response) -> None:
    """Raise ParseError for whatever of a 2xx cannot be understood, before half of it was acted on."""
    _ = response.contacts, response.record_routes, response.allow, response.headers.one(SESSION_EXPIRES)
    has_description(response)


def _description(message: Message) -> tuple[bytes, str]:
    return message.body, message.headers.get("Content-Type") or "application/sdp"
