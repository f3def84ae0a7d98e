"""A dialog: the peer-to-peer relation of two user agents that orders and routes their messages (RFC 3261 §12)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from .errors import LocalProtocolError, RemoteProtocolError
from .headers import Address
from .message import Message, Request, Response
from .uri import SipUri, Uri

EARLY: Final = 0
CONFIRMED: Final = 1
TERMINATED: Final = 2
STATE_NAMES: Final = ("early", "confirmed", "terminated")

IN_PROVISIONAL: Final = 0
"""A 101-199 of the request that created the dialog."""
IN_SUCCESS: Final = 1
"""A 2xx of the request that created the dialog."""
IN_FAILURE: Final = 2
"""A non-2xx final response of the request that created the dialog, or none at all."""
IN_END: Final = 3
"""Whatever ends the last usage of the dialog: a BYE, a terminating NOTIFY, 481 or 408 (§12.2.1.2)."""
INPUT_NAMES: Final = ("1xx", "2xx", "failure", "end")

TABLE: Final[dict[tuple[int, int], int]] = {
    (EARLY, IN_PROVISIONAL): EARLY,  # §13.2.2.1
    (EARLY, IN_SUCCESS): CONFIRMED,  # §13.2.2.4
    (EARLY, IN_FAILURE): TERMINATED,  # §12.3
    (EARLY, IN_END): TERMINATED,  # §15: the caller may send BYE on an early dialog
    (CONFIRMED, IN_PROVISIONAL): CONFIRMED,  # late
    (CONFIRMED, IN_SUCCESS): CONFIRMED,  # repeated
    (CONFIRMED, IN_FAILURE): CONFIRMED,  # §12.3: a failure ends early dialogs only
    (CONFIRMED, IN_END): TERMINATED,  # §12.3
    (TERMINATED, IN_PROVISIONAL): TERMINATED,
    (TERMINATED, IN_SUCCESS): TERMINATED,
    (TERMINATED, IN_FAILURE): TERMINATED,
    (TERMINATED, IN_END): TERMINATED,
}

TARGET_REFRESH: Final = frozenset(("INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"))
"""Methods whose Contact replaces the remote target (§12.2.2, RFC 3311 §5, RFC 6665 §4.4.1, RFC 3515 §2.4.2)."""

_CREDENTIALS: Final = frozenset(("authorization", "proxy-authorization"))
_NO_HEADERS: Final[tuple[tuple[str, str], ...]] = ()


class DialogId(NamedTuple):
    """What identifies a dialog at one of its ends; a tag is "" when the peer sent none (RFC 2543)."""

    call_id: str
    local_tag: str
    remote_tag: str


def id_of_request(request: Request) -> DialogId:
    """The dialog, as seen by its receiver, that *request* belongs to (§12: a UAS)."""
    return DialogId(request.call_id, request.to.tag or "", request.from_.tag or "")


def id_of_response(response: Response) -> DialogId:
    """The dialog, as seen by its receiver, that *response* belongs to (§12: a UAC)."""
    return DialogId(response.call_id, response.from_.tag or "", response.to.tag or "")


def contact_uri(message: Message) -> SipUri | None:
    """The URI of the first Contact, if it can be a remote target: a SIP or SIPS URI (§12.1.1)."""
    contacts = message.contacts
    if contacts:
        first = contacts[0]
        if isinstance(first, Address) and isinstance(first.uri, SipUri):
            return first.uri
    return None


def asks_for_sips(request: Request) -> bool:
    """Whether a request that creates a dialog wants SIPS Contacts.

    By its Request-URI, its topmost Route (§12.1.2) or Record-Route, or by its Contact when it has none (§12.1.1).
    """
    ways = [request.uri]
    ways.extend(route.uri for route in request.routes[:1])
    recorded = request.record_routes[:1] or request.contacts[:1]
    ways.extend(address.uri for address in recorded)
    return any(isinstance(uri, SipUri) and uri.secure for uri in ways)


def secure_contact(contact: Address) -> Address:
    """*contact* with a SIPS URI."""
    uri = contact.uri
    return contact._replace(uri=uri.replace(scheme="sips")) if isinstance(uri, SipUri) else contact


class Dialog:
    """State of one dialog at one end, and the requests made from it.

    Both ends count `CSeq` on their own: `local_seq` and `remote_seq` are None until a request was sent, or seen.
    `local` and `remote` are the From and To of requests made here, tags included.
    """

    __slots__ = (
        "call_id",
        "initiator",
        "local",
        "local_seq",
        "local_tag",
        "remote",
        "remote_seq",
        "remote_tag",
        "remote_target",
        "route_set",
        "secure",
        "state",
        "usages",
    )

    def __init__(
        self,
        call_id: str,
        local: Address,
        remote: Address,
        remote_target: Uri,
        route_set: tuple[Address, ...] = (),
        *,
        local_seq: int | None = None,
        remote_seq: int | None = None,
        initiator: bool,
        secure: bool = False,
        state: int = EARLY,
    ) -> None:
        self.call_id = call_id
        self.local = local
        self.remote = remote
        self.local_tag: str = local.tag or ""
        self.remote_tag: str = remote.tag or ""
        self.remote_target = remote_target
        self.route_set = route_set
        self.local_seq = local_seq
        self.remote_seq = remote_seq
        self.initiator = initiator
        self.secure = secure
        self.state = state
        self.usages = 1
        """How many sessions and subscriptions live in it: it lasts as long as any of them (RFC 5057 §4.2)."""

    @classmethod
    def from_response(cls, request: Request, response: Response) -> Dialog:
        """The dialog that *response* (101-299) to our *request* creates (§12.1.2).

        A response without Contact (RFC 2543, or a careless peer) leaves the Request-URI as remote target.
        """
        uri = request.uri
        return cls(
            request.call_id,
            _own(request.from_),
            _own(response.to),
            contact_uri(response) or uri,
            response.record_routes[::-1],
            local_seq=request.cseq.number,
            initiator=True,
            secure=isinstance(uri, SipUri) and uri.scheme == "sips",
            state=CONFIRMED if response.status >= 200 else EARLY,
        )

    @classmethod
    def from_request(cls, request: Request, local_tag: str, *, secure_flow: bool = False) -> Dialog:
        """The early dialog that a 101-299 with *local_tag* to the received *request* will create (§12.1.1).

        `secure_flow`: whether the request arrived over TLS.  Raises RemoteProtocolError (400) when the Contact that
        every dialog needs is missing or is not a SIP URI.
        """
        target = contact_uri(request)
        if target is None:
            raise RemoteProtocolError("a request that creates a dialog needs a Contact with a SIP URI", 400)
        uri = request.uri
        return cls(
            request.call_id,
            _own(request.to).with_param("tag", local_tag),
            _own(request.from_),
            target,
            request.record_routes,
            remote_seq=request.cseq.number,
            initiator=False,
            secure=secure_flow and isinstance(uri, SipUri) and uri.scheme == "sips",
        )

    @property
    def id(self) -> DialogId:
        """The dialog's identifier at this end."""
        return DialogId(self.call_id, self.local_tag, self.remote_tag)

    def step(self, input_: int) -> bool:
        """Feed one of the `IN_` inputs; returns whether the state changed."""
        before = self.state
        self.state = TABLE[before, input_]
        return self.state != before

    def share(self) -> None:
        """One more usage: a subscription in the dialog of a session.  LocalProtocolError once it is terminated."""
        if self.state == TERMINATED:
            raise LocalProtocolError("nothing new can begin in a dialog that is terminated")
        self.usages += 1

    def leave(self, input_: int = IN_END) -> None:
        """A usage is over; with the last one the dialog is, by that input."""
        self.usages -= 1
        if not self.usages:
            self.step(input_)

    def confirm(self, response: Response) -> None:
        """Take the 2xx that confirms a dialog of the caller: its route set and remote target hold (§13.2.2.4)."""
        if self.state == EARLY:
            self.route_set = response.record_routes[::-1]
        self.refresh_target(response)
        self.step(IN_SUCCESS)

    # -- requests of this end ------------------------------------------------------------------------------------

    def next_seq(self) -> int:
        """Draw the next CSeq number: contiguous, from 1 when nothing was sent yet (§12.2.1.1)."""
        self.local_seq = 1 if self.local_seq is None else self.local_seq + 1
        return self.local_seq

    def create_request(
        self,
        method: str,
        *,
        contact: Address | None = None,
        headers: Iterable[tuple[str, str]] = _NO_HEADERS,
        body: bytes = b"",
        content_type: str | None = None,
        max_forwards: int = 70,
    ) -> Request:
        """A new request within the dialog (§12.2.1.1), with the next CSeq number.

        `contact` goes into target refresh requests only.  Raises LocalProtocolError once the dialog is terminated,
        and for ACK and CANCEL, which have no number of their own (see `create_ack`, `Request.create_cancel`).
        """
        if method in ("ACK", "CANCEL"):
            raise LocalProtocolError(f"{method} repeats the CSeq number of its INVITE; use create_ack or create_cancel")
        if self.state == TERMINATED:
            raise LocalProtocolError(f"no {method} can be sent: the dialog is terminated")
        return self._request(method, self.next_seq(), contact, headers, body, content_type, max_forwards)

    def create_ack(
        self,
        invite: Request,
        *,
        headers: Iterable[tuple[str, str]] = _NO_HEADERS,
        body: bytes = b"",
        content_type: str | None = None,
        max_forwards: int = 70,
    ) -> Request:
        """The ACK for a 2xx to *invite*: its CSeq number and its credentials (§13.2.2.4)."""
        own = [(name, value) for name, value in invite.headers if name.lower() in _CREDENTIALS]
        own.extend(headers)
        return self._request("ACK", invite.cseq.number, None, own, body, content_type, max_forwards)

    def _request(
        self,
        method: str,
        number: int,
        contact: Address | None,
        headers: Iterable[tuple[str, str]],
        body: bytes,
        content_type: str | None,
        max_forwards: int,
    ) -> Request:
        uri, routes = self.target()
        lines = [("Route", str(route)) for route in routes]
        if contact is not None and method in TARGET_REFRESH:
            lines.append(("Contact", str(contact)))
        lines.extend(headers)
        request = Request.build(
            method,
            uri,
            from_=self.local,
            to=self.remote,
            call_id=self.call_id,
            cseq=number,
            headers=lines,
            body=body,
            content_type=content_type,
            max_forwards=max_forwards,
        )
        request.to_strict_router = routes != self.route_set
        return request

    def target(self) -> tuple[Uri, tuple[Address, ...]]:
        """Request-URI and Route of a request: loose routing, or strict when the first hop asks so (§12.2.1.1)."""
        routes = self.route_set
        if not routes:
            return self.remote_target, ()
        first = routes[0].uri
        if not isinstance(first, SipUri) or first.lr:
            return self.remote_target, routes
        last = Address("", self.remote_target)
        # §19.1.1: neither a method parameter nor headers may stand in a Request-URI
        return first.replace(params=first.params.without("method"), headers=()), (*routes[1:], last)

    # -- what the peer sends -------------------------------------------------------------------------------------

    def in_order(self, request: Request) -> bool:
        """Take note of the CSeq of a request from the peer; False when it is out of order and owed a 500 (§12.2.2).

        Gaps are in order: a proxy may have challenged the requests in between.  An equal number is a copy that
        travelled another way, since repetitions within one transaction never get here.
        """
        number = request.cseq.number
        if self.remote_seq is not None and number <= self.remote_seq:
            return False
        self.remote_seq = number
        return True

    def refresh_target(self, message: Message) -> bool:
        """Take the Contact of a target refresh request that was accepted, or of its 2xx, as the remote target.

        Other methods and a missing Contact change nothing; returns whether the target is another one now.
        """
        method = message.method if isinstance(message, Request) else message.cseq.method
        if method not in TARGET_REFRESH:
            return False
        uri = contact_uri(message)
        if uri is None or str(uri) == str(self.remote_target):  # equal URIs may still differ in parameters (§19.1.4)
            return False
        self.remote_target = uri
        return True


def _own(address: Address) -> Address:
    """From or To as a dialog keeps it: the URI, and of the parameters the tag alone (§12.2.1.1)."""
    kept = Address(address.display_name, address.uri)
    return kept.with_param("tag", address.tag) if address.tag else kept
