"""A request of ours under way, through challenges and redirections to its one outcome (RFC 3261 §8.1.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .dialog import Dialog
    from .errors import SipError
    from .flow import Flow
    from .message import Request, Response
    from .uri import SipUri, Uri


class Authenticator(Protocol):
    """Answers challenges: in practice a `DigestClient` with the user's credentials."""

    def authorize(self, request: Request, response: Response) -> Sequence[tuple[str, str]] | None:
        """Authorization and Proxy-Authorization header fields for a repetition of *request* after a 401 or 407.

        None when there are no credentials for the realm, or when those that there are were refused already.
        """
        ...

    def credentials(self, request: Request) -> Sequence[tuple[str, str]]:
        """Header fields for a new *request* whose way is known to ask for them; often none."""
        ...

    def learn(self, request: Request, response: Response) -> bool:
        """Take note of a final response; False when the server failed to prove that it knows the password."""
        ...


class RequestOwner(Protocol):
    """Who gets the responses to a `ClientRequest`."""

    def response_received(self, handle: ClientRequest, response: Response, now: float) -> None:
        """A provisional or final response that this layer has no use for; of 2xx to INVITE all of them."""
        ...

    def request_failed(self, handle: ClientRequest, error: SipError | None, now: float) -> None:
        """No final response: a timeout (no error), or it could not be carried."""
        ...


class ClientRequest:
    """One request of this user agent; the `sender` of its transactions.

    `request` is what was sent last: a challenge, a 422 or a redirection makes a new one with the next CSeq number.
    """

    __slots__ = (
        "cancelled",
        "challenges",
        "destination",
        "dialog",
        "done",
        "intervals_raised",
        "owner",
        "request",
        "subject",
        "targets",
        "tried",
    )

    def __init__(
        self,
        request: Request,
        owner: RequestOwner,
        dialog: Dialog | None = None,
        destination: Flow | Uri | None = None,
    ) -> None:
        self.request = request
        self.owner: RequestOwner | None = owner
        """Who gets the responses; None once what may still come matters to nobody."""
        self.dialog = dialog
        self.destination = destination
        self.cancelled = False
        """Whether it was told to give up; no new attempt is made then."""
        self.done = False
        """Whether a final response, or none for good, came in."""
        self.challenges = 0
        self.intervals_raised = 0
        self.subject: object = None
        """What the owner sent it for; None for a request of the application."""
        self.targets: list[SipUri] = []
        self.tried: set[str] = set()

    @property
    def method(self) -> str:
        """The method of the request."""
        return self.request.method


def with_credentials(authenticator: Authenticator, request: Request, response: Response) -> Request | None:
    """A copy of *request* with the credentials that the challenge in *response* asks for (§22.2, §22.3).

    None when there are none to give.  Its CSeq is still the old one.
    """
    credentials = authenticator.authorize(request, response)
    if not credentials:
        return None
    request = request.copy()
    request.headers.remove("Authorization")
    request.headers.remove("Proxy-Authorization")
    for name, value in credentials:
        request.headers.add(name, value)
    return request
