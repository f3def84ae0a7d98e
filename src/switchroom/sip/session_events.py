"""What a user agent core tells its application."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .client_request import ClientRequest
    from .dialog import Dialog
    from .errors import SipError
    from .headers import Join, Replaces
    from .message import Request, Response
    from .modification import IncomingModification, OutgoingModification
    from .session import Session
    from .session_client import ClientSession
    from .session_server import ServerSession
    from .transaction import ServerTransaction


class Carries(Enum):
    """What the session description in a message is, by the rules of RFC 3261 §13.2.1, 3262 §5 and 3311 §5."""

    NOTHING = "nothing"
    """No session description, or one that the rules say to ignore."""
    OFFER = "offer"
    ANSWER = "answer"
    PREVIEW = "preview"
    """A copy of the answer to come, in an unreliable provisional response: early media may be played by it."""


class EndReason(Enum):
    """Why a session ended, as this end knows it."""

    LOCAL_BYE = "hung up here"
    REMOTE_BYE = "hung up by the peer"
    LOCAL_CANCEL = "cancelled here before it was answered"
    REMOTE_CANCEL = "cancelled by the caller before it was answered"
    LOCAL_REJECT = "rejected or redirected here"
    REMOTE_REJECT = "rejected by the peer or on the way"
    REDIRECTED = "redirected by the peer"
    EXPIRED = "not answered in time"
    TIMEOUT = "no response"
    TRANSPORT = "the message could not be carried"
    NO_ACK = "the answer was never acknowledged"
    NO_PRACK = "a reliable provisional response was never acknowledged"
    SESSION_EXPIRED = "not refreshed in time"
    LOST = "unknown to the peer"


class IncomingSession(NamedTuple):
    """An INVITE outside any dialog: ring, answer, redirect or reject it through `session`.

    `replaces`, `join` and `target` say which session it is about (RFC 3891, 3911): whoever answers a session with
    `replaces` ends `target`, which this agent does by itself.
    """

    session: ServerSession
    request: Request
    replaces: Replaces | None = None
    join: Join | None = None
    target: Session | None = None


class IncomingRequest(NamedTuple):
    """A request that the application must answer by `UserAgent.respond`; within `session`'s dialog if that is set."""

    transaction: ServerTransaction
    request: Request
    session: Session | None = None


class RequestCompleted(NamedTuple):
    """The one outcome of a request of ours: a final response, or the error that kept it from getting one.

    A timeout has neither.
    """

    handle: ClientRequest
    response: Response | None
    error: SipError | None = None


class RequestProgress(NamedTuple):
    """A provisional response (101-199) to a request of ours other than INVITE."""

    handle: ClientRequest
    response: Response


class SessionProgress(NamedTuple):
    """The caller got a 101-199: new for a reliable one, as often as it arrives for an unreliable one.

    With `carries` OFFER the session waits for `ClientSession.prack` with the answer.
    """

    session: ClientSession
    response: Response
    dialog: Dialog | None
    carries: Carries


class EarlyDialogEnded(NamedTuple):
    """One of the branches of a forked INVITE is over (a 199, RFC 6228, or a BYE); the others go on."""

    session: ClientSession
    dialog: Dialog


class SessionAnswered(NamedTuple):
    """The caller got its first 2xx: `session.dialog` is confirmed.

    With `carries` OFFER the session waits for `ClientSession.acknowledge` with the answer; else the ACK is under way.
    """

    session: ClientSession
    response: Response
    carries: Carries


class SessionConfirmed(NamedTuple):
    """The called side got the ACK for its 2xx; with `carries` ANSWER it completes a delayed offer."""

    session: ServerSession
    request: Request
    carries: Carries


class ProvisionalAcknowledged(NamedTuple):
    """The called side got a PRACK for its reliable provisional response, and answered it unless it carries an offer."""

    session: ServerSession
    request: Request
    carries: Carries


class IncomingOffer(NamedTuple):
    """A re-INVITE, or an UPDATE or PRACK with an offer: answer by `modification.accept` or `.reject`.

    A re-INVITE without a session description has `carries` NOTHING and asks for an offer in `accept`.
    """

    session: Session
    modification: IncomingModification
    carries: Carries


class ModificationConfirmed(NamedTuple):
    """The ACK for a 2xx to the peer's re-INVITE arrived; with `carries` ANSWER it completes our offer."""

    session: Session
    modification: IncomingModification
    request: Request
    carries: Carries


class ModificationCompleted(NamedTuple):
    """Our re-INVITE or UPDATE has its final outcome; on failure (no response, or not 2xx) the session is unchanged.

    With `carries` OFFER (a re-INVITE without description was accepted) `modification.acknowledge` owes the answer.
    """

    session: Session
    modification: OutgoingModification
    response: Response | None
    carries: Carries


class ModificationWithdrawn(NamedTuple):
    """The peer cancelled its re-INVITE, or nobody waits for the answer any more: there is nothing to answer."""

    session: Session
    modification: IncomingModification


class SessionRefreshed(NamedTuple):
    """The session timer was wound up again (RFC 4028), by us or by the peer."""

    session: Session
    by_us: bool


class SessionEnded(NamedTuple):
    """The end of a session: told exactly once, and the last event of that session.

    `message` is what ended it where there is one: a response, a BYE, a CANCEL (whose Reason header says more).
    """

    session: Session
    reason: EndReason
    status: int | None = None
    message: Request | Response | None = None
    error: SipError | None = None


UserAgentEvent = (
    IncomingSession
    | IncomingRequest
    | RequestCompleted
    | RequestProgress
    | SessionProgress
    | EarlyDialogEnded
    | SessionAnswered
    | SessionConfirmed
    | ProvisionalAcknowledged
    | IncomingOffer
    | ModificationConfirmed
    | ModificationCompleted
    | ModificationWithdrawn
    | SessionRefreshed
    | SessionEnded
)
