"""Who owes whom a session description within one dialog (RFC 3261 §13.2.1, RFC 3262 §5, RFC 3311 §5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .errors import LocalProtocolError
from .message import Message
from .session_events import Carries

if TYPE_CHECKING:
    from .headers import MediaType

IDLE: Final = 0
"""No description was exchanged yet."""
OFFER_SENT: Final = 1
OFFER_RECEIVED: Final = 2
STABLE: Final = 3
"""An offer was answered; either side may make a new one."""
NEW_OFFER_SENT: Final = 4
NEW_OFFER_RECEIVED: Final = 5
STATE_NAMES: Final = ("idle", "offer sent", "offer received", "stable", "new offer sent", "new offer received")

SEND_OFFER: Final = 0
SEND_ANSWER: Final = 1
RECEIVE_OFFER: Final = 2
RECEIVE_ANSWER: Final = 3
WITHDRAW: Final = 4
"""The message with the pending offer was refused, cancelled or lost: as if it had never been sent (§14.1)."""
INPUT_NAMES: Final = ("send offer", "send answer", "receive offer", "receive answer", "withdraw")

TABLE: Final[dict[tuple[int, int], int]] = {
    (IDLE, SEND_OFFER): OFFER_SENT,
    (IDLE, RECEIVE_OFFER): OFFER_RECEIVED,
    (IDLE, WITHDRAW): IDLE,
    (OFFER_SENT, RECEIVE_ANSWER): STABLE,
    (OFFER_SENT, WITHDRAW): IDLE,
    (OFFER_RECEIVED, SEND_ANSWER): STABLE,
    (OFFER_RECEIVED, WITHDRAW): IDLE,
    (STABLE, SEND_OFFER): NEW_OFFER_SENT,
    (STABLE, RECEIVE_OFFER): NEW_OFFER_RECEIVED,
    (STABLE, WITHDRAW): STABLE,
    (NEW_OFFER_SENT, RECEIVE_ANSWER): STABLE,
    (NEW_OFFER_SENT, WITHDRAW): STABLE,
    (NEW_OFFER_RECEIVED, SEND_ANSWER): STABLE,
    (NEW_OFFER_RECEIVED, WITHDRAW): STABLE,
}
"""Every other pair breaks the offer/answer model: an offer on top of an offer, or an answer to nothing."""

_SDP: Final = "application/sdp"


def has_description(message: Message) -> bool:
    """Whether the body is a session description: disposition `session`, said or implied by SDP (§13.2.1).

    A multipart body counts when one of its parts is SDP.
    """
    if not message.body:
        return False
    disposition = message.headers.get("Content-Disposition")
    if disposition is not None:
        return disposition.partition(";")[0].strip().lower() == "session"
    kind = message.content_type
    return kind is not None and _is_description(kind, message.body)


def _is_description(kind: MediaType, body: bytes) -> bool:
    if kind.type == "multipart":
        # whether a part is SDP is decided by the part's own header line, without taking the body apart
        return _SDP.encode() in body.lower()
    return kind.essence == _SDP


class OfferExchange:
    """The offer/answer state of one dialog: a small table, fed with each message that carries a description."""

    __slots__ = ("state",)

    def __init__(self, state: int = IDLE) -> None:
        self.state = state

    @property
    def pending(self) -> bool:
        """Whether an offer awaits its answer."""
        return self.state not in (IDLE, STABLE)

    @property
    def offer_is_ours(self) -> bool:
        """Whether the peer owes an answer: its offers get 491 meanwhile (RFC 3311 §5.2)."""
        return self.state in (OFFER_SENT, NEW_OFFER_SENT)

    @property
    def offer_is_theirs(self) -> bool:
        """Whether we owe an answer: further offers get 500 with Retry-After meanwhile (RFC 3311 §5.2)."""
        return self.state in (OFFER_RECEIVED, NEW_OFFER_RECEIVED)

    @property
    def established(self) -> bool:
        """Whether a first exchange was completed."""
        return self.state >= STABLE

    def step(self, input_: int) -> None:
        """Feed one of the inputs; raises LocalProtocolError when the offer/answer model forbids it now."""
        after = TABLE.get((self.state, input_))
        if after is None:
            raise LocalProtocolError(f"cannot {INPUT_NAMES[input_]} in state '{STATE_NAMES[self.state]}' (RFC 3264 §4)")
        self.state = after

    def received(self, message: Message, *, offer_allowed: bool = True) -> Carries:
        """Feed a reliable message of the peer; says what its description is.

        A description that has no place (an answer repeated, an offer where none may stand) is ignored (§13.2.1);
        whether an incoming *request* may make an offer is to be asked first, by `pending`.
        """
        if not has_description(message):
            return Carries.NOTHING
        if self.offer_is_ours:
            self.step(RECEIVE_ANSWER)
            return Carries.ANSWER
        if offer_allowed and not self.pending:
            self.step(RECEIVE_OFFER)
            return Carries.OFFER
        return Carries.NOTHING

    def sent(self, message: Message) -> Carries:
        """Feed a reliable message of ours; says what its description is."""
        if not has_description(message):
            return Carries.NOTHING
        if self.offer_is_theirs:
            self.step(SEND_ANSWER)
            return Carries.ANSWER
        self.step(SEND_OFFER)
        return Carries.OFFER
