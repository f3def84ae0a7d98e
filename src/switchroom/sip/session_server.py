"""The called side of a session: ring, answer, reject, redirect (RFC 3261 §13.3, RFC 3262 §3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from .clock import Alarm
from .dialog import IN_SUCCESS, Dialog
from .errors import LocalProtocolError, SipError
from .headers import Address
from .invite_dialog import InviteDialog
from .modification import IncomingModification
from .offer_exchange import IDLE, NEW_OFFER_SENT, OFFER_RECEIVED, OFFER_SENT, RECEIVE_OFFER, WITHDRAW, has_description
from .orders import SendResponse
from .reliable_provisional import SENDING, ReliableProvisionals
from .session import Session
from .session_events import (
    Carries,
    EndReason,
    IncomingOffer,
    ProvisionalAcknowledged,
    SessionConfirmed,
)
from .session_host import SessionHost
from .session_table import ANSWERED, CONFIRMED, DO_ANSWER, DO_REJECT, IN_ACK, IN_BYE, INVITED, STATE_NAMES
from .success_response import SuccessResponse
from .timers import NEVER

if TYPE_CHECKING:
    from .message import Request, Response
    from .transaction import ServerTransaction

REPEAT_EVERY: Final = 60.0
"""Seconds between provisional responses, so that no proxy cancels the INVITE (§13.3.1.1)."""
REPEAT_RELIABLE_EVERY: Final = 150.0
"""The same when they are sent reliably (RFC 3262 §3)."""


class ServerSession(Session):
    """A session that the peer wants: told by `IncomingSession`."""

    __slots__ = (
        "_expiry",
        "_held",
        "_last",
        "_patience",
        "_provisionals",
        "_repeat",
        "local_tag",
        "replaced",
        "transaction",
    )

    def __init__(
        self,
        host: SessionHost,
        transaction: ServerTransaction,
        request: Request,
        wait: float,
        now: float,
        *,
        secure: bool = False,
    ) -> None:
        expires = request.expires  # a malformed one is refused before any clock runs
        super().__init__(host, request, INVITED)
        self.transaction = transaction
        self.local_tag = host.identifiers.token()
        """The tag of every response of this session."""
        self.replaced: Session | None = None
        """The session that ends when this one is answered (RFC 3891)."""
        leg = InviteDialog(Dialog.from_request(request, self.local_tag, secure_flow=secure))
        leg.learn(request)
        if has_description(request):
            leg.exchange.step(RECEIVE_OFFER)
        self.leg = leg
        self._provisionals: ReliableProvisionals | None = None
        if self._reliability():
            first = 1 + int(host.identifiers.random() * (2**31 - 2))
            self._provisionals = ReliableProvisionals(host.clocks, self, first, host.timer_values)
        self._held: Response | None = None
        self._last: Response | None = None
        self._repeat = Alarm(host.clocks, self._repeat_progress)
        self._repeat.set(retry_at=now + REPEAT_EVERY)
        self._expiry = Alarm(host.clocks, self._invitation_expired)
        if expires is not None:
            self._expiry.set(expire_at=now + expires)
        self._patience = Alarm(host.clocks, self._never_answered)
        if wait != NEVER:
            self._patience.set(expire_at=now + wait)
        host.watch(transaction, self)

    @property
    def answered(self) -> bool:
        """Whether a 2xx was sent."""
        return self.state in (ANSWERED, CONFIRMED)

    # -- what the application does -------------------------------------------------------------------------------

    def progress(
        self,
        now: float,
        status: int = 180,
        reason: str | None = None,
        *,
        body: bytes = b"",
        content_type: str | None = "application/sdp",
        headers: Iterable[tuple[str, str]] = (),
        reliable: bool | None = None,
    ) -> Response:
        """Send a 101-199 (§13.3.1.1), reliably when the caller requires or supports that (RFC 3262).

        `reliable=False` sends an unreliable one to a caller that merely supports 100rel.  Without an offer in the
        INVITE a reliable response must carry one (RFC 3262 §5), so one without body goes out unreliably then, and
        raises LocalProtocolError when the caller requires 100rel.
        """
        if self.state != INVITED or self._held is not None:
            raise LocalProtocolError(f"no progress can be told: the session is {self._state_name()}")
        if not 100 < status < 200:
            raise LocalProtocolError("100 is sent by the transaction layer, and final responses have their own verbs")
        response = self._response(status, reason, headers, body, content_type)
        response.headers.add("Contact", str(self.contact))
        self._remember()
        if self._sends_reliably(response, reliable):
            assert self._provisionals is not None
            for name, value in self._host.capabilities():  # RFC 3311 §5.1: whether we take UPDATE already now
                response.headers.add(name, value)
            self._sent(response)
            self._last = response
            self._repeat.set(retry_at=now + REPEAT_RELIABLE_EVERY)
            self._provisionals.send(response, now)
        else:
            self._last = response
            self._repeat.set(retry_at=now + REPEAT_EVERY)
            self.transmit_provisional(response)
        return response

    def answer(
        self,
        now: float,
        body: bytes = b"",
        content_type: str | None = "application/sdp",
        headers: Iterable[tuple[str, str]] = (),
        status: int = 200,
    ) -> Response:
        """Accept with a 2xx, repeated until its ACK arrives (§13.3.1.4).

        It is held back while a reliable provisional response with a session description awaits its PRACK
        (RFC 3262 §5).  Raises LocalProtocolError when the offer of the INVITE is left without an answer.
        """
        if self.state != INVITED or self._held is not None:
            raise LocalProtocolError(f"cannot answer: the session is {self._state_name()}")
        if not 200 <= status < 300:
            raise LocalProtocolError("a session is answered with 200-299")
        response = self._response(status, None, (), body, content_type)
        if self._leg.exchange.state == OFFER_RECEIVED and not has_description(response):
            raise LocalProtocolError("the offer must be answered by a session description (RFC 3264 §5)")
        for name, value in headers:
            response.headers.add(name, value)
        if self._provisionals is not None and self._provisionals.holds_success:
            self._held = response
        else:
            self._send_success(response, now)
        return response

    def reject(
        self,
        now: float,
        status: int = 603,
        reason: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> Response:
        """Refuse with a 3xx-6xx (§13.3.1.3): the session ends here and now."""
        if not 300 <= status < 700:
            raise LocalProtocolError("a session is rejected with 300-699")
        return self._reject(status, reason, headers, EndReason.LOCAL_REJECT, now, body=body, content_type=content_type)

    def redirect(self, now: float, contacts: Iterable[Address], status: int = 302) -> Response:
        """Send the caller elsewhere (§13.3.1.2)."""
        return self.reject(now, status, None, [("Contact", str(contact)) for contact in contacts])

    def hang_up(self, now: float, headers: Iterable[tuple[str, str]] = ()) -> None:
        """End the session: 480 before the answer, BYE after it (once the ACK is here, §15)."""
        if self.state == INVITED:
            self.reject(now, 480, None, headers)
        else:
            super().hang_up(now, headers)

    # -- provisional responses -----------------------------------------------------------------------------------

    def transmit_provisional(self, response: Response) -> None:
        """Pass a provisional response to the transaction."""
        self._host.order(SendResponse(self.transaction, response))

    def provisional_abandoned(self, response: Response, now: float) -> None:
        """No PRACK in 64*T1: reject the INVITE with a 5xx (RFC 3262 §3)."""
        self._reject(504, None, (), EndReason.NO_PRACK, now)

    def _reliability(self) -> str | None:
        """Whether the caller requires or supports reliable provisional responses."""
        if "100rel" in self.request.require:
            return "required"
        return "supported" if "100rel" in self.request.supported else None

    def _sends_reliably(self, response: Response, wanted: bool | None) -> bool:
        reliability = self._reliability()
        if reliability is None:
            if wanted:
                raise LocalProtocolError("the caller does not support 100rel (RFC 3262 §3)")
            return False
        if wanted is False and reliability == "supported":
            return False
        if self._leg.exchange.state == IDLE and not has_description(response):
            # RFC 3262 §5: the first reliable message must carry the offer that the INVITE did not
            if reliability == "required" or wanted:
                raise LocalProtocolError("the INVITE had no offer: a reliable response must carry one (RFC 3262 §5)")
            return False
        return True

    def _sent(self, response: Response) -> Carries:
        """Take note of what a reliable response to the INVITE carries: its first offer or answer.

        What follows is a copy of the answer, which the caller ignores: no response makes a later offer (§13.2.1).
        """
        if self._leg.exchange.state in (IDLE, OFFER_RECEIVED):
            return self._leg.sent(response)
        return Carries.NOTHING

    def _repeat_progress(self, now: float) -> None:
        """Every minute something must be heard of us (§13.3.1.1)."""
        if self._held is not None:
            return  # the 2xx is about to follow, or the PRACK it waits for never comes
        last = self._last
        reliable = last is not None and "100rel" in last.require
        required = self._reliability() == "required"
        if last is None and not (required and self._leg.exchange.state == IDLE):
            self.progress(now, 183, reliable=None if required else False)
        elif reliable and last is not None and self._leg.exchange.state != IDLE:
            self.progress(now, last.status)
        elif last is not None:
            self._repeat.set(retry_at=now + REPEAT_EVERY)
            self.transmit_provisional(last)

    def _pracked(self, transaction: ServerTransaction, request: Request, leg: InviteDialog, now: float) -> None:
        provisionals = self._provisionals
        acknowledged = provisionals.acknowledge(request, now) if provisionals is not None else None
        if acknowledged is None:
            self._host.respond_to(transaction, request, 481)  # RFC 3262 §3
            return
        if leg.exchange.state == NEW_OFFER_SENT and has_description(request):
            # an offer that crosses that of an UPDATE of ours: as RFC 3311 §5.2 has it for an UPDATE
            self._host.respond_to(transaction, request, 491)
            self._host.emit(ProvisionalAcknowledged(self, request, Carries.NOTHING))
        elif (carries := leg.received(request)) is Carries.OFFER:
            modification = IncomingModification(self, leg, transaction, request)
            self._await_decision(modification, now)
            self._host.emit(ProvisionalAcknowledged(self, request, carries))
            self._host.emit(IncomingOffer(self, modification, carries))
        else:
            if leg.exchange.state == OFFER_SENT:
                leg.exchange.step(WITHDRAW)  # our offer was left without the answer it was owed
            self._host.respond_to(transaction, request, 200)
            self._host.emit(ProvisionalAcknowledged(self, request, carries))
        held = self._held
        if held is not None and provisionals is not None and not provisionals.holds_success:
            self._held = None
            self._send_success(held, now)

    # -- the final response --------------------------------------------------------------------------------------

    def _send_success(self, response: Response, now: float) -> None:
        leg = self._leg
        self._fill_success(response, self.request, leg, now, timed=True)
        offers = self._sent(response) is Carries.OFFER
        self._remember()
        leg.dialog.step(IN_SUCCESS)
        self._step(DO_ANSWER)
        self._settle()
        self._host.order(SendResponse(self.transaction, response))
        self._await_ack(self.transaction, self.request, response, offers, now)
        replaced = self.replaced
        if replaced is not None and not replaced.ended:
            replaced.hang_up(now)  # RFC 3891 §3

    def _acknowledged(
        self, success: SuccessResponse, request: Request, carries: Carries, leg: InviteDialog, now: float
    ) -> None:
        if success.transaction is self.transaction and self.state == ANSWERED:
            self._step(IN_ACK)
            self._host.emit(SessionConfirmed(self, request, carries))
            return
        super()._acknowledged(success, request, carries, leg, now)

    def _reject(
        self,
        status: int,
        reason: str | None,
        headers: Iterable[tuple[str, str]],
        why: EndReason,
        now: float,
        *,
        message: Request | None = None,
        body: bytes = b"",
        content_type: str | None = None,
    ) -> Response:
        self._step(DO_REJECT)
        response = self._response(status, reason, headers, body, content_type)
        self._settle()
        self._host.order(SendResponse(self.transaction, response))
        self._close(self._leg)
        self._finish(why, now, status, message or response)
        return response

    def _finish(
        self,
        reason: EndReason,
        now: float,
        status: int | None = None,
        message: Request | Response | None = None,
        error: SipError | None = None,
    ) -> None:
        self._provisionals = None
        super()._finish(reason, now, status, message, error)

    def _settle(self) -> None:
        """A final response goes out: nothing about the INVITE is awaited any more but its ACK."""
        self._host.unwatch(self.transaction)
        self._repeat.release()
        self._expiry.release()
        self._patience.release()
        self._held = None
        if self._provisionals is not None:
            self._provisionals.finish()

    def transaction_cancelled(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        """The caller's CANCEL (§9.2): 487, unless a final response is on its way already."""
        if transaction is not self.transaction:
            super().transaction_cancelled(transaction, request, now)
        else:
            self._reject(487, None, (), EndReason.REMOTE_CANCEL, now, message=request)

    def response_failed(self, transaction: ServerTransaction, error: SipError, now: float) -> None:
        """A response of ours could not be carried."""
        if transaction is not self.transaction:
            super().response_failed(transaction, error, now)
        else:
            self._step(DO_REJECT)
            self._settle()
            self._close(self._leg)
            self._finish(EndReason.TRANSPORT, now, 503, None, error)

    def _hung_up(self, leg: InviteDialog, request: Request, now: float) -> None:
        if self.state == INVITED:
            # §15.1.2: a BYE on the early dialog; the INVITE still gets its final response
            self._step(IN_BYE)
            self._host.order(SendResponse(self.transaction, self._response(487, None, (), b"", None)))
            self._settle()
            self._close(leg)
            self._finish(EndReason.REMOTE_BYE, now, 487, request)
        else:
            super()._hung_up(leg, request, now)

    def _may_offer(self, leg: InviteDialog) -> bool:
        # RFC 3311 §5.1: an answer in a reliable provisional response counts once its PRACK is here
        if self._provisionals is not None and self._provisionals.state == SENDING:
            return False
        return super()._may_offer(leg)

    def _invitation_expired(self, now: float) -> None:
        """The INVITE's Expires is over (§13.3.1)."""
        self._reject(487, None, (), EndReason.EXPIRED, now)

    def _never_answered(self, now: float) -> None:
        """The application neither answered nor rejected in the time that the settings allow."""
        self._reject(480, None, (), EndReason.EXPIRED, now)

    @property
    def _leg(self) -> InviteDialog:
        leg = self.leg
        assert leg is not None  # a called session has its dialog from the start
        return leg

    def _remember(self) -> None:
        self._host.remember(self, self._leg)

    def _state_name(self) -> str:
        return "answered, and waits for a PRACK" if self._held is not None else STATE_NAMES[self.state]

    def _response(
        self,
        status: int,
        reason: str | None,
        headers: Iterable[tuple[str, str]],
        body: bytes,
        content_type: str | None,
    ) -> Response:
        return self.request.create_response(
            status,
            reason,
            to_tag=self.local_tag,
            headers=tuple(headers),
            body=body,
            content_type=content_type if body else None,
        )
