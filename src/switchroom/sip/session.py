"""A session: what an INVITE sets up between two user agents, from the first message to the last (RFC 3261 §13-15)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Final

from .client_request import ClientRequest
from .client_usage import retry_after
from .clock import Alarm
from .dialog import IN_END, Dialog, asks_for_sips, secure_contact
from .errors import LocalProtocolError, SipError
from .headers import MIN_SE, SESSION_EXPIRES
from .invite_dialog import InviteDialog, read_success
from .modification import IncomingModification, OutgoingModification, glare_delay
from .offer_exchange import RECEIVE_OFFER, WITHDRAW, OfferExchange, has_description
from .orders import CancelRequest, SendAck, SendResponse
from .session_events import (
    Carries,
    EndReason,
    IncomingOffer,
    IncomingRequest,
    ModificationCompleted,
    ModificationConfirmed,
    ModificationWithdrawn,
    RequestCompleted,
    RequestProgress,
    SessionEnded,
    SessionRefreshed,
)
from .session_host import SessionHost
from .session_table import (
    ANSWERED,
    CANCELLING,
    CONFIRMED,
    DO_HANG_UP,
    ENDED,
    IN_BYE,
    INPUT_NAMES,
    INVITED,
    INVITING,
    LOST,
    NO_ACK,
    STATE_NAMES,
    TABLE,
)
from .session_timer import Grant, SessionTimer, SessionTimerSettings, TooSmall, grant, request_headers
from .success_response import SuccessResponse

if TYPE_CHECKING:
    from .headers import Address
    from .message import Request, Response
    from .transaction import ServerTransaction

_RETRY_REFRESH: Final = 5.0
"""Seconds until a session refresh that could not be sent, or was refused, is tried again at the earliest."""
_LATER: Final = frozenset((0, 500, 503))
"""What a refresh by UPDATE meets that may fare better later: no way to the peer, or a peer that is busy."""
_BYE_ATTEMPTS: Final = 5
"""How often a BYE is sent that is refused as out of order."""
_SEPARATE_USAGES: Final = frozenset(("REFER", "SUBSCRIBE", "NOTIFY"))
"""Whose 481 concerns a subscription, not the session in the same dialog (RFC 5057 §5.1)."""


class Session:
    """What both ends of a session share: requests within the dialog, the session timer, the end."""

    __slots__ = (
        "_glare",
        "_host",
        "_pending",
        "_successes",
        "_timer",
        "leg",
        "min_se",
        "outgoing",
        "request",
        "state",
    )

    def __init__(self, host: SessionHost, request: Request, state: int) -> None:
        self._host = host
        self.request = request
        """The INVITE; for the caller the one sent last."""
        self.state = state
        self.leg: InviteDialog | None = None
        """The dialog that counts: the called side's, or that of the 2xx the caller took."""
        self.outgoing: OutgoingModification | None = None
        """Our re-INVITE or UPDATE under way, or waiting after a 491."""
        self.min_se = 0
        self._pending: dict[ServerTransaction, IncomingModification] = {}
        self._successes: list[SuccessResponse] = []
        self._timer = SessionTimer(host.clocks, self)
        self._glare = Alarm(host.clocks, self._after_glare)

    @property
    def dialog(self) -> Dialog | None:
        """The dialog of the session, once there is one that counts."""
        return self.leg.dialog if self.leg is not None else None

    @property
    def ended(self) -> bool:
        """Whether `SessionEnded` was told."""
        return self.state == ENDED

    @property
    def exchange(self) -> OfferExchange | None:
        """The offer/answer state of the session's dialog."""
        return self.leg.exchange if self.leg is not None else None

    @property
    def contact(self) -> Address:
        """Our Contact in this session: SIPS when the INVITE came or went by SIPS (§12.1.1, §12.1.2)."""
        contact = self._host.contact
        return secure_contact(contact) if asks_for_sips(self.request) else contact

    @property
    def timer(self) -> SessionTimer:
        """The session timer."""
        return self._timer

    # -- what the application does -------------------------------------------------------------------------------

    def hang_up(self, now: float, headers: Iterable[tuple[str, str]] = ()) -> None:
        """End the session in whatever state it is: BYE here, CANCEL or a rejection before the answer.

        `headers` may hold a Reason (RFC 3326).  Raises LocalProtocolError when it has ended already.
        """
        self._step(DO_HANG_UP)
        leg = self.leg
        assert leg is not None  # ANSWERED and CONFIRMED have one
        self._finish(EndReason.LOCAL_BYE, now)
        self._bye(leg, now, tuple(headers))

    def send(
        self,
        now: float,
        method: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
        leg: InviteDialog | None = None,
    ) -> ClientRequest:
        """Send INFO, MESSAGE, OPTIONS, REFER, NOTIFY... within the dialog; the outcome is told as `RequestCompleted`.

        `leg` is an early dialog of a forked INVITE; default: the dialog of the session.  Raises LocalProtocolError
        when there is no dialog, and for the methods that change the session itself.
        """
        if method in ("INVITE", "UPDATE", "BYE", "PRACK"):
            raise LocalProtocolError(f"use the session's own verb for {method}")
        leg = self._usable_leg(leg)
        request = leg.dialog.create_request(
            method, contact=self.contact, headers=headers, body=body, content_type=content_type
        )
        handle = ClientRequest(request, self, leg.dialog)
        self._host.start(handle, now)
        return handle

    def reinvite(
        self,
        now: float,
        body: bytes = b"",
        content_type: str | None = "application/sdp",
        headers: Iterable[tuple[str, str]] = (),
    ) -> OutgoingModification:
        """Send a re-INVITE, with an offer or asking for one (§14.1).

        Raises LocalProtocolError before the session is confirmed, and while another change is under way in either
        direction; try again after its event.
        """
        leg = self._usable_leg()
        if self.state != CONFIRMED:
            raise LocalProtocolError("a re-INVITE must wait until the INVITE is confirmed by its ACK (§14.1)")
        if self._successes or any(each.request.method == "INVITE" for each in self._pending.values()):
            raise LocalProtocolError("a re-INVITE of the peer is in progress (§14.1)")
        return self._modify(leg, "INVITE", body, content_type, tuple(headers), now)

    def update(
        self,
        now: float,
        body: bytes = b"",
        content_type: str | None = "application/sdp",
        headers: Iterable[tuple[str, str]] = (),
        leg: InviteDialog | None = None,
    ) -> OutgoingModification:
        """Send an UPDATE (RFC 3311), also on an early dialog: the session's own, or one of a forked INVITE by `leg`.

        Raises LocalProtocolError while another change is under way, or where no offer may stand (§5.1).
        """
        leg = self._usable_leg(leg)
        if body and not self._may_offer(leg):
            raise LocalProtocolError("no UPDATE with an offer before the first offer was answered (RFC 3311 §5.1)")
        return self._modify(leg, "UPDATE", body, content_type, tuple(headers), now)

    def _may_offer(self, leg: InviteDialog) -> bool:
        return leg.exchange.established or self.state == CONFIRMED

    def _usable_leg(self, chosen: InviteDialog | None = None) -> InviteDialog:
        leg = chosen or self.leg
        if leg is None or leg.closed or self.state == ENDED:
            raise LocalProtocolError(f"no dialog to send in: the session is {STATE_NAMES[self.state]}")
        return leg

    # -- the INVITE's own end of the dialog ----------------------------------------------------------------------

    def receive_request(self, transaction: ServerTransaction, request: Request, leg: InviteDialog, now: float) -> None:
        """A request within the dialog of *leg*; methods and extensions were checked by the user agent core."""
        if not leg.dialog.in_order(request):
            extra = (self._retry_after(),) if request.method == "INVITE" else ()
            self._host.respond_to(transaction, request, 500, "CSeq Out Of Order", extra)
            return
        method = request.method
        if method == "BYE":
            self._host.respond_to(transaction, request, 200)
            self._hung_up(leg, request, now)
        elif self.state == ENDED or (self.state == CONFIRMED and leg is not self.leg):
            self._host.respond_to(transaction, request, 481)  # over, or a branch that was not taken
        elif method == "INVITE":
            self._reinvited(transaction, request, leg, now)
        elif method == "UPDATE":
            self._updated(transaction, request, leg, now)
        elif method == "PRACK":
            self._pracked(transaction, request, leg, now)
        else:
            self._host.emit(IncomingRequest(transaction, request, self))

    def _hung_up(self, leg: InviteDialog, request: Request, now: float) -> None:
        """The peer's BYE (§15.1.2)."""
        self._close(leg)
        if leg is not self.leg:
            return
        if self._step(IN_BYE):
            self._finish(EndReason.REMOTE_BYE, now, message=request)

    def _pracked(self, transaction: ServerTransaction, request: Request, leg: InviteDialog, now: float) -> None:
        """The caller sends no reliable provisional responses: whatever PRACK comes matches none."""
        self._host.respond_to(transaction, request, 481)

    def _reinvited(self, transaction: ServerTransaction, request: Request, leg: InviteDialog, now: float) -> None:
        ours = self.outgoing
        if self.state in (INVITING, CANCELLING) or (
            ours is not None and ours.method == "INVITE" and ours.handle is not None
        ):
            self._host.respond_to(transaction, request, 491)  # §14.2: an INVITE of ours is in progress
        elif self.state == INVITED or any(each.request.method == "INVITE" for each in self._pending.values()):
            self._host.respond_to(transaction, request, 500, None, (self._retry_after(),))  # §14.2
        else:
            self._asked(transaction, request, leg, now)

    def _updated(self, transaction: ServerTransaction, request: Request, leg: InviteDialog, now: float) -> None:
        if any(each.request.method == "UPDATE" for each in self._pending.values()):
            self._host.respond_to(transaction, request, 500, None, (self._retry_after(),))  # RFC 3311 §5.2
        else:
            self._asked(transaction, request, leg, now)

    def _asked(self, transaction: ServerTransaction, request: Request, leg: InviteDialog, now: float) -> None:
        """A change that no pending INVITE or UPDATE forbids: the offer/answer state and the session timer decide."""
        described = has_description(request)
        if described or request.method == "INVITE":  # a re-INVITE without description asks for an offer
            if leg.exchange.offer_is_ours:
                self._host.respond_to(transaction, request, 491)  # RFC 3311 §5.2
                return
            if leg.exchange.offer_is_theirs:
                self._host.respond_to(transaction, request, 500, None, (self._retry_after(),))
                return
        granted = grant(request, self._host.session_timer)
        if isinstance(granted, TooSmall):
            self._host.respond_to(transaction, request, 422, None, (("Min-SE", str(granted.min_se)),))
            return
        leg.learn(request)
        modification = IncomingModification(self, leg, transaction, request)
        if described:
            leg.exchange.step(RECEIVE_OFFER)
        elif request.method == "UPDATE":
            self._pending[transaction] = modification
            self.answer_modification(modification, now, 200, None, (), b"", None)
            return
        self._await_decision(modification, now)
        self._host.emit(IncomingOffer(self, modification, Carries.OFFER if described else Carries.NOTHING))

    def _await_decision(self, modification: IncomingModification, now: float) -> None:
        """The application decides, but not for ever: meanwhile no other change is possible."""
        host, transaction = self._host, modification.transaction
        self._pending[transaction] = modification
        host.watch(transaction, self)
        modification.patience = Alarm(host.clocks, partial(self._undecided, modification))
        modification.patience.set(expire_at=now + host.modification_wait)

    def _undecided(self, modification: IncomingModification, now: float) -> None:
        """RFC 3311 §5.2: 504 when the user would have to be asked for too long."""
        modification.reject(now, 504)
        self._host.emit(ModificationWithdrawn(self, modification))

    def answer_modification(
        self,
        modification: IncomingModification,
        now: float,
        status: int,
        reason: str | None,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        content_type: str | None,
    ) -> Response:
        """Answer a re-INVITE, UPDATE or PRACK; see `IncomingModification.accept` and `.reject`."""
        request, leg, transaction = modification.request, modification.leg, modification.transaction
        if modification.done:
            raise LocalProtocolError(f"this {request.method} was answered already, or withdrawn")
        if not 200 <= status < 700:
            raise LocalProtocolError("a change is accepted or rejected by a final response")
        response = request.create_response(status, reason, headers=headers)
        offers = False
        described = has_description(request)
        if status < 300:
            if body:
                response.headers.set("Content-Type", content_type or "application/sdp")
                response.body = body
            if described and not has_description(response):
                raise LocalProtocolError("the offer must be answered by a session description (RFC 3264 §5)")
            if described or request.method == "INVITE":
                offers = leg.sent(response) is Carries.OFFER
            self._fill_success(response, request, leg, now, timed=request.method != "PRACK")
            leg.dialog.refresh_target(request)
        elif described:
            leg.exchange.step(WITHDRAW)
        modification.settle()
        self._pending.pop(transaction, None)
        self._host.unwatch(transaction)
        self._host.order(SendResponse(transaction, response))
        if request.method == "INVITE" and 200 <= status < 300:
            self._await_ack(transaction, request, response, offers, now)
        return response

    def _fill_success(
        self,
        response: Response,
        request: Request,
        leg: InviteDialog,
        now: float,
        *,
        timed: bool,
    ) -> None:
        """What every 2xx to INVITE or UPDATE carries (§13.3.1.4), and the session timer it grants (RFC 4028 §9)."""
        add = response.headers.add
        if timed:
            add("Contact", str(self.contact))
            for name, value in self._host.capabilities():
                add(name, value)
            refreshes = request.method == "INVITE" or request.headers.one(SESSION_EXPIRES) is not None
            if refreshes and self.state in (INVITED, ANSWERED, CONFIRMED):
                self._grant(response, request, now)

    def _grant(self, response: Response, request: Request, now: float) -> None:
        granted = grant(request, self._host.session_timer)
        if not isinstance(granted, Grant):
            return
        floor = request.headers.one(MIN_SE)
        if floor is not None:
            self.min_se = max(self.min_se, floor.seconds)  # RFC 4028 §7.4
        if granted.interval is not None:
            response.headers.add("Session-Expires", f"{granted.interval};refresher={granted.refresher}")
            if granted.require:
                response.headers.add("Require", "timer")
        self._timer.wind(granted.interval, granted.refresher == "uas", now)
        if self.state == CONFIRMED and granted.interval is not None:
            self._host.emit(SessionRefreshed(self, False))

    def _await_ack(
        self, transaction: ServerTransaction, request: Request, response: Response, offers: bool, now: float
    ) -> None:
        host = self._host
        success = SuccessResponse(host.clocks, self, transaction, request, response, host.timer_values, now)
        success.offers = offers
        self._successes.append(success)

    def ack_received(self, request: Request, leg: InviteDialog, now: float) -> None:
        """The ACK for one of our 2xx: found by its CSeq number (§13.3.1.4)."""
        number = request.cseq.number
        for success in self._successes:
            if success.request.cseq.number == number:
                break
        else:
            return
        carries = Carries.NOTHING
        if success.offers:
            carries = leg.received(request, offer_allowed=False)
            if carries is Carries.NOTHING:
                leg.exchange.step(WITHDRAW)  # our offer in the 2xx was left without an answer
        self._successes.remove(success)
        success.acknowledge()
        self._acknowledged(success, request, carries, leg, now)

    def _acknowledged(
        self, success: SuccessResponse, request: Request, carries: Carries, leg: InviteDialog, now: float
    ) -> None:
        if leg.bye_headers is not None and not self._successes:
            headers, leg.bye_headers = leg.bye_headers, None
            self._bye(leg, now, headers)
        elif self.state != ENDED:
            modification = IncomingModification(self, leg, success.transaction, success.request)
            modification.done = True
            self._host.emit(ModificationConfirmed(self, modification, request, carries))

    def repeat_response(self, transaction: ServerTransaction, response: Response) -> None:
        """The 2xx is due again."""
        self._host.order(SendResponse(transaction, response))

    def success_abandoned(self, success: SuccessResponse, now: float) -> None:
        """No ACK in 64*T1: BYE (§13.3.1.4, §14.2)."""
        self._successes.remove(success)
        leg = self.leg
        assert leg is not None
        headers, leg.bye_headers = leg.bye_headers or (), None
        if self._step(NO_ACK):
            self._finish(EndReason.NO_ACK, now)
        self._bye(leg, now, headers)

    def transaction_cancelled(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        """The peer cancelled its re-INVITE (§9.2)."""
        modification = self._pending[transaction]
        modification.reject(now, 487)
        self._host.emit(ModificationWithdrawn(self, modification))

    def response_failed(self, transaction: ServerTransaction, error: SipError, now: float) -> None:
        """A response could not be carried, or its transaction ended without one."""
        modification = self._pending.pop(transaction)
        self._host.unwatch(transaction)
        modification.settle()
        if has_description(modification.request):
            modification.leg.exchange.step(WITHDRAW)
        self._host.emit(ModificationWithdrawn(self, modification))

    # -- changes of ours -----------------------------------------------------------------------------------------

    def _modify(
        self,
        leg: InviteDialog,
        method: str,
        body: bytes,
        content_type: str | None,
        headers: tuple[tuple[str, str], ...],
        now: float,
        *,
        refresh: bool = False,
    ) -> OutgoingModification:
        if self.outgoing is not None:
            raise LocalProtocolError(f"an {self.outgoing.method} of ours is under way (§14.1, RFC 3311 §5.1)")
        modification = OutgoingModification(self, leg, method, body, content_type, headers, refresh=refresh)
        self._send_modification(modification, now)
        return modification

    def _send_modification(self, modification: OutgoingModification, now: float) -> None:
        leg, host = modification.leg, self._host
        if modification.body and leg.exchange.pending:
            raise LocalProtocolError("an offer awaits its answer (RFC 3264 §4)")
        headers = host.capabilities()
        if self.state == CONFIRMED:
            headers += request_headers(self._timer_settings(), min_se=self.min_se, refresher=self._refresher())
        headers += modification.headers
        request = leg.dialog.create_request(
            modification.method,
            contact=self.contact,
            headers=headers,
            body=modification.body,
            content_type=modification.content_type if modification.body else None,
        )
        modification.offers = leg.sent(request) is Carries.OFFER
        handle = ClientRequest(request, self, leg.dialog)
        handle.subject = modification
        modification.handle = handle
        self.outgoing = modification
        host.start(handle, now)

    def _timer_settings(self) -> SessionTimerSettings | None:
        settings = self._host.session_timer
        if settings is not None and self._timer.running:
            return settings._replace(interval=self._timer.interval)
        return settings

    def _refresher(self) -> str | None:
        """Who shall go on refreshing, seen from a request of ours (RFC 4028 §7.4)."""
        if not self._timer.running:
            return None
        return "uac" if self._timer.refreshing else "uas"

    def response_received(self, handle: ClientRequest, response: Response, now: float) -> None:
        """A response to a request of ours within the dialog."""
        subject = handle.subject
        if isinstance(subject, OutgoingModification):
            self._modification_answered(subject, handle, response, now)
        elif response.status < 200:
            if subject is None and response.status > 100:
                self._host.emit(RequestProgress(handle, response))
        elif isinstance(subject, InviteDialog):  # our BYE
            if response.status == 500 and not subject.closed and subject.byes < _BYE_ATTEMPTS:
                # overtaken by a subscription's request, with a higher CSeq: it has to be said again
                request = handle.request.copy()
                request.headers.remove("Authorization")
                request.headers.remove("Proxy-Authorization")
                request.headers.set("CSeq", f"{subject.dialog.next_seq()} BYE")
                self._send_bye(subject, request, now)
            else:
                self._close(subject)
        else:
            assert handle.dialog is not None  # whatever a session sends is sent within a dialog
            if response.status < 300:
                handle.dialog.refresh_target(response)
            self._host.emit(RequestCompleted(handle, response))
            self._judge(handle, response, now)

    def request_failed(self, handle: ClientRequest, error: SipError | None, now: float) -> None:
        """A request of ours within the dialog found no answer."""
        subject = handle.subject
        if isinstance(subject, OutgoingModification):
            self._modification_failed(subject, handle, None, error, now)
        elif isinstance(subject, InviteDialog):
            self._close(subject)  # §15.1.1: no answer to BYE is an answer
        else:
            self._host.emit(RequestCompleted(handle, None, error))
            if error is None and handle.dialog is self.dialog:
                self._lose(EndReason.TIMEOUT, now, 408)

    def _judge(self, handle: ClientRequest, response: Response, now: float) -> None:
        """§12.2.1.2: 481 and 408 end the dialog, unless they speak of a subscription in it (RFC 5057).

        On another branch than that of the session they are no matter of it.
        """
        ours = handle.dialog is self.dialog and handle.method not in _SEPARATE_USAGES
        if ours and response.status in (481, 408):
            self._lose(EndReason.LOST, now, response.status, response)

    def _modification_answered(
        self, modification: OutgoingModification, handle: ClientRequest, response: Response, now: float
    ) -> None:
        if response.status < 200:
            return
        leg = modification.leg
        if response.status >= 300:
            self._modification_failed(modification, handle, response, None, now)
            return
        if modification.handle is not handle:  # a repeated 2xx
            if modification.ack is not None:
                self._host.order(SendAck(modification.ack))
            return
        read_success(response)
        modification.handle = None
        leg.dialog.refresh_target(response)
        leg.learn(response)
        invite = modification.method == "INVITE"
        carries = leg.received(response, offer_allowed=invite and not modification.offers)
        if modification.offers and leg.exchange.offer_is_ours:
            leg.exchange.step(WITHDRAW)  # a 2xx without the answer it owed
        modification.request = handle.request
        if not invite:
            self.outgoing = None
        elif carries is not Carries.OFFER or self.state == ENDED:
            self._acknowledge(modification, b"", None)
        if self.state == ENDED:
            return
        wound = leg is self.leg and self._wind(response, now)
        if not modification.refresh or carries is Carries.OFFER:
            self._host.emit(ModificationCompleted(self, modification, response, carries))
        if wound:
            self._host.emit(SessionRefreshed(self, True))

    def _wind(self, response: Response, now: float) -> bool:
        """Take the session timer from a 2xx to our INVITE or UPDATE (RFC 4028 §7.2); whether there is one."""
        if self.state != CONFIRMED:
            return False
        settled = response.headers.one(SESSION_EXPIRES)
        if settled is None or self._host.session_timer is None:
            self._timer.end()
            return False
        self._timer.wind(settled.seconds, settled.refresher != "uas", now)
        return True

    def acknowledge_modification(
        self, modification: OutgoingModification, now: float, body: bytes, content_type: str | None
    ) -> None:
        """See `OutgoingModification.acknowledge`."""
        if modification.ack is not None or modification.request is None or modification.method != "INVITE":
            raise LocalProtocolError("there is no 2xx that waits for its ACK")
        self._acknowledge(modification, body, content_type)

    def _acknowledge(self, modification: OutgoingModification, body: bytes, content_type: str | None) -> None:
        assert modification.request is not None
        leg = modification.leg
        ack = leg.dialog.create_ack(modification.request, body=body, content_type=content_type if body else None)
        if leg.exchange.offer_is_theirs:
            if has_description(ack):
                leg.sent(ack)
            else:
                leg.exchange.step(WITHDRAW)
        modification.ack = ack
        if self.outgoing is modification:
            self.outgoing = None
        self._host.order(SendAck(ack))

    def _modification_failed(
        self,
        modification: OutgoingModification,
        handle: ClientRequest,
        response: Response | None,
        error: SipError | None,
        now: float,
    ) -> None:
        """§14.1: the session goes on unchanged, but for 481, 408 and silence."""
        if modification.handle is not handle:
            return  # its branch was left meanwhile
        leg = modification.leg
        modification.withdraw()
        if self.state == ENDED:
            return
        status = response.status if response is not None else 0
        if status == 491:
            delay = glare_delay(leg.dialog.initiator, self._host.identifiers.random())
            self._glare.set(retry_at=now + delay)
            return
        self.outgoing = None
        if not modification.refresh:
            self._host.emit(ModificationCompleted(self, modification, response, Carries.NOTHING))
        if status in (481, 408) and response is not None:
            self._judge(handle, response, now)
        elif response is None and error is None:
            if leg is self.leg:
                self._lose(EndReason.TIMEOUT, now, 408)
        elif modification.refresh and modification.method == "UPDATE" and status not in _LATER:
            leg.allow = tuple(method for method in leg.allow if method != "UPDATE")
            self.refresh(now)
        elif modification.refresh:
            wait = retry_after(response)
            delay = (self._timer.expire_at - now) / 2 if wait is None else float(wait)
            self._timer.again_at(now + max(_RETRY_REFRESH, delay))

    def _after_glare(self, now: float) -> None:
        """The random time after a 491 is over: once more, unless something of the peer is under way (§14.1)."""
        modification = self.outgoing
        assert modification is not None  # whoever drops it stops the clock
        if self._busy(modification.leg):
            delay = glare_delay(modification.leg.dialog.initiator, self._host.identifiers.random())
            self._glare.set(retry_at=now + max(delay, 0.1))
        else:
            self._send_modification(modification, now)

    def _busy(self, leg: InviteDialog) -> bool:
        return bool(self._pending or self._successes or leg.exchange.pending)

    # -- the session timer ---------------------------------------------------------------------------------------

    def refresh(self, now: float) -> None:
        """Half of the session interval is over (RFC 4028 §7.2): an UPDATE where the peer takes it, else a re-INVITE."""
        leg = self.leg
        if leg is None or self.state != CONFIRMED or self.outgoing is not None or self._busy(leg):
            self._timer.again_at(now + _RETRY_REFRESH)
        elif "UPDATE" in leg.allow:
            self._modify(leg, "UPDATE", b"", None, (), now, refresh=True)
        else:
            body, content_type = leg.description or (b"", "")
            self._modify(leg, "INVITE", body, content_type, (), now, refresh=True)

    def session_expired(self, now: float) -> None:
        """No refresh came in time (RFC 4028 §10)."""
        self._lose(EndReason.SESSION_EXPIRED, now)

    # -- the end -------------------------------------------------------------------------------------------------

    def _lose(self, reason: EndReason, now: float, status: int | None = None, message: Response | None = None) -> None:
        """The peer does not know the dialog, or is silent: BYE all the same (§12.2.1.2)."""
        if self._step(LOST):
            leg = self.leg
            assert leg is not None
            self._finish(reason, now, status, message)
            self._bye(leg, now, ())

    def _step(self, input_: int) -> bool:
        """Feed the session's table; returns whether the session has just ended."""
        after = TABLE.get((self.state, input_))
        if after is None:
            raise LocalProtocolError(f"cannot {INPUT_NAMES[input_]}: the session is {STATE_NAMES[self.state]}")
        before, self.state = self.state, after
        return after == ENDED and before != ENDED

    def _finish(
        self,
        reason: EndReason,
        now: float,
        status: int | None = None,
        message: Request | Response | None = None,
        error: SipError | None = None,
    ) -> None:
        """Called once, when the table says so: stop the clocks, answer what the peer waits for, tell."""
        self._timer.release()
        self._glare.release()
        for modification in list(self._pending.values()):
            modification.reject(now, 487)  # §15.1.2: pending requests are still answered
        ours = self.outgoing
        if ours is not None:
            if ours.handle is not None and ours.method == "INVITE":
                self._host.order(CancelRequest(ours.handle))
            elif ours.request is not None and ours.ack is None and ours.method == "INVITE":
                self._acknowledge(ours, b"", None)  # its answer will not come any more
            self.outgoing = None
        self._host.session_ended(self)
        self._host.emit(SessionEnded(self, reason, status, message, error))

    def _bye(self, leg: InviteDialog, now: float, headers: tuple[tuple[str, str], ...]) -> None:
        """Send BYE, or keep it until the ACK of our 2xx arrives (§15)."""
        if self._successes and leg is self.leg:
            leg.bye_headers = headers
            return
        self._send_bye(leg, leg.dialog.create_request("BYE", headers=headers), now)

    def _send_bye(self, leg: InviteDialog, request: Request, now: float) -> None:
        leg.byes += 1
        handle = ClientRequest(request, self, leg.dialog)
        handle.subject = leg
        self._host.start(handle, now)

    def _close(self, leg: InviteDialog, input_: int = IN_END) -> None:
        """The session leaves the dialog: nothing of it is repeated or awaited any more."""
        if leg.closed:
            return  # BYE crossed BYE
        leg.closed = True
        leg.dialog.leave(input_)
        leg.bye_headers = None
        if leg is self.leg:
            for success in self._successes:
                success.abandon()
            self._successes.clear()
        self._host.forget(leg)

    def _retry_after(self) -> tuple[str, str]:
        """§14.2: a random number of seconds between 0 and 10."""
        return "Retry-After", str(int(self._host.identifiers.random() * 11))
