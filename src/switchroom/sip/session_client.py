"""The caller's side of a session: INVITE, its forks, and what becomes of them (RFC 3261 §13.2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .client_request import ClientRequest
from .clock import Alarm
from .dialog import EARLY, IN_END, IN_FAILURE, IN_PROVISIONAL, Dialog
from .errors import LocalProtocolError, RemoteProtocolError, SipError
from .invite_dialog import InviteDialog, read_success
from .offer_exchange import OFFER_SENT, WITHDRAW, has_description
from .orders import CancelRequest, SendAck
from .reliable_provisional import is_reliable
from .session import Session
from .session_events import (
    Carries,
    EarlyDialogEnded,
    EndReason,
    ModificationCompleted,
    SessionAnswered,
    SessionProgress,
)
from .session_host import SessionHost
from .session_table import CANCELLING, CONFIRMED, DO_CANCEL, ENDED, IN_BYE, IN_SUCCESS, INVITING
from .session_table import IN_FAILURE as INVITE_FAILED
from .timers import NEVER

if TYPE_CHECKING:
    from .flow import Flow
    from .message import Request, Response
    from .modification import OutgoingModification
    from .uri import Uri

_PRACK_ATTEMPTS = 5
"""How often a PRACK that was refused as out of order is sent anew."""


class _Prack:
    """A PRACK under way: what it acknowledges, and what it carries."""

    __slots__ = ("attempts", "body", "content_type", "leg", "response")

    def __init__(self, leg: InviteDialog, response: Response, body: bytes, content_type: str | None) -> None:
        self.leg = leg
        self.response = response
        self.body = body
        self.content_type = content_type
        self.attempts = 0


class ClientSession(Session):
    """A session that we started: made by `UserAgent.invite`.

    `legs` are the dialogs that its responses created; `leg` is the one whose 2xx was taken.
    """

    __slots__ = ("_branches_end", "_expired", "_give_up", "_gone", "_offer", "handle", "legs")

    def __init__(
        self, host: SessionHost, request: Request, destination: Flow | Uri | None, wait: float, now: float
    ) -> None:
        super().__init__(host, request, INVITING)
        self.handle = ClientRequest(request, self, None, destination)
        self.legs: dict[str, InviteDialog] = {}
        self._offer = has_description(request)
        self._gone: set[str] = set()
        """Tags of branches that ended early: what still arrives of their provisional responses is late."""
        self._expired = False
        self._branches_end = Alarm(host.clocks, self._end_branches)
        self._give_up = Alarm(host.clocks, self._not_answered)
        if wait != NEVER:
            self._give_up.set(expire_at=now + wait)

    # -- what the application does -------------------------------------------------------------------------------

    def cancel(self, now: float, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Give up before the answer (§9.1); `SessionEnded` follows when it is known what became of the INVITE.

        Raises LocalProtocolError once the session is answered (`hang_up` then) or has ended.
        """
        if self.state == CANCELLING:
            return
        self._step(DO_CANCEL)
        self._give_up.stop()
        self.handle.cancelled = True
        self._host.order(CancelRequest(self.handle, tuple(headers)))

    def hang_up(self, now: float, headers: Iterable[tuple[str, str]] = ()) -> None:
        """End the session: CANCEL before the answer, BYE after it."""
        if self.state in (INVITING, CANCELLING):
            self.cancel(now, headers)
            return
        super().hang_up(now, headers)

    def acknowledge(self, now: float, body: bytes = b"", content_type: str | None = "application/sdp") -> None:
        """Send the ACK for a 2xx that carried the offer, with the answer (§13.2.2.4).

        Raises LocalProtocolError when no 2xx waits for it.
        """
        leg = self.leg
        if leg is None or not leg.ack_owed or self.state == ENDED:
            raise LocalProtocolError("there is no 2xx that waits for its ACK")
        self._acknowledge_success(leg, body, content_type)

    def prack(
        self,
        now: float,
        response: Response,
        body: bytes = b"",
        content_type: str | None = "application/sdp",
    ) -> None:
        """Acknowledge a reliable provisional response that carried the offer, with the answer (RFC 3262 §5).

        A PRACK of ours makes no offer, which RFC 3262 §5 would allow, too: `update` makes it, in a message of its own.
        """
        leg = self.legs.get(response.to.tag or "")
        if leg is None or leg.prack_due is not response or self.state == ENDED:
            raise LocalProtocolError("this response waits for no PRACK")
        leg.prack_due = None
        self._prack(_Prack(leg, response, body, content_type), now)

    # -- responses to the INVITE ---------------------------------------------------------------------------------

    def response_received(self, handle: ClientRequest, response: Response, now: float) -> None:
        """A response to the INVITE, to a PRACK, or to another request within the dialog."""
        if handle is self.handle:
            status = response.status
            if status < 200:
                self._progressed(response, now)
            elif status < 300:
                self._succeeded(response, now)
            else:
                self._failed(response, None, now)
        elif isinstance(handle.subject, _Prack):
            self._prack_answered(handle.subject, response, now)
        else:
            super().response_received(handle, response, now)

    def request_failed(self, handle: ClientRequest, error: SipError | None, now: float) -> None:
        """The INVITE, or a request within the dialog, found no answer."""
        if handle is self.handle:
            self._failed(None, error, now)
        elif not isinstance(handle.subject, _Prack):  # without its PRACK, the INVITE fails soon enough (RFC 3262 §3)
            super().request_failed(handle, error, now)

    def _progressed(self, response: Response, now: float) -> None:
        if response.status == 100 or self.state not in (INVITING, CANCELLING):
            return
        tag = response.to.tag
        if not tag:
            # §13.2.2.1: without a tag (RFC 2543) there is progress, but no dialog
            self._host.emit(SessionProgress(self, response, None, Carries.NOTHING))
            return
        leg = self.legs.get(tag)
        if leg is None:
            if response.status == 199 or tag in self._gone:
                return  # RFC 6228 §4: the end of a branch that never was heard of, or is over
            if len(self.legs) + len(self._gone) >= self._host.max_early_dialogs:
                return
            leg = self._new_leg(response)
        leg.dialog.step(IN_PROVISIONAL)
        leg.learn(response)
        carries = Carries.NOTHING
        if is_reliable(response):
            if not leg.order.accept(response):
                return  # RFC 3262 §4: repeated, or not the next one
            carries = self._carried(leg, response)
            if carries is Carries.OFFER:
                leg.prack_due = response
            else:
                self._prack(_Prack(leg, response, b"", None), now)
        elif leg.exchange.state == OFFER_SENT and has_description(response):
            carries = Carries.PREVIEW
        if response.status == 199:
            self._drop(leg)
            self._host.emit(EarlyDialogEnded(self, leg.dialog))
        else:
            self._host.emit(SessionProgress(self, response, leg.dialog, carries))

    def _succeeded(self, response: Response, now: float) -> None:
        tag = response.to.tag or ""
        leg = self.legs.get(tag)
        if leg is not None and (leg.ack is not None or leg.ack_owed):
            if leg.ack is not None:
                self._host.order(SendAck(leg.ack))  # §13.2.2.4: each repetition is acknowledged
            return
        read_success(response)
        if leg is None:
            leg = self._new_leg(response)
        leg.dialog.confirm(response)
        leg.learn(response)
        self.request = self.handle.request
        if not self._branches_end.running:
            # §13.2.2.4: 64*T1 after the first 2xx no more branches are to be expected
            self._branches_end.set(expire_at=now + 64 * self._host.timer_values.t1)
        carries = self._carried(leg, response)
        if leg.exchange.state == OFFER_SENT:
            leg.exchange.step(WITHDRAW)  # a 2xx without the answer it owed
        if self.state == INVITING and self._host.accepts_branch(self, response):
            self._step(IN_SUCCESS)
            self._give_up.stop()
            self.leg = leg
            change = self.outgoing
            if change is not None and change.leg is not leg:
                self._leave(change)
            self._wind(response, now)
            if carries is Carries.OFFER:
                leg.ack_owed = True
            else:
                self._acknowledge_success(leg, b"", None)
            self._host.emit(SessionAnswered(self, response, carries))
            return
        # §13.2.2.4, §15: a branch that is not wanted, or a 2xx that crossed our CANCEL
        self._acknowledge_success(leg, b"", None)
        crossed = self.state == CANCELLING
        if crossed and self._step(IN_SUCCESS):
            self._end_as_cancelled(response.status, response, now)
        self._bye(leg, now, ())

    def _failed(self, response: Response | None, error: SipError | None, now: float) -> None:
        """A non-2xx final response, or none (§13.2.2.2, §13.2.2.3); early dialogs end with it (§12.3)."""
        for leg in list(self.legs.values()):
            self._drop(leg, IN_FAILURE)
        self.request = self.handle.request
        if not isinstance(error, RemoteProtocolError):  # else other branches may still send their 2xx
            self._forget_invite()
        cancelled = self.state == CANCELLING
        if not self._step(INVITE_FAILED):
            return
        status = response.status if response is not None else 408 if error is None else 503
        if cancelled:
            self._end_as_cancelled(status, response, now)
        elif response is not None:
            reason = EndReason.REDIRECTED if status < 400 else EndReason.REMOTE_REJECT
            self._finish(reason, now, status, response)
        else:
            self._finish(EndReason.TIMEOUT if error is None else EndReason.TRANSPORT, now, status, None, error)

    def begin_anew(self) -> None:
        """The INVITE is sent once more, after a challenge or elsewhere: its early dialogs are over (§12.3)."""
        for leg in list(self.legs.values()):
            self._drop(leg, IN_FAILURE)
            self._host.emit(EarlyDialogEnded(self, leg.dialog))
        self._gone.clear()

    def _forget_invite(self) -> None:
        """No response to the INVITE comes any more: let go of what waited for it."""
        self._branches_end.release()
        self.handle.owner = None

    def _end_as_cancelled(self, status: int, response: Response | None, now: float) -> None:
        self._finish(EndReason.EXPIRED if self._expired else EndReason.LOCAL_CANCEL, now, status, response)

    def _hung_up(self, leg: InviteDialog, request: Request, now: float) -> None:
        """A BYE: on a branch other than ours it ends that branch; the last one takes the session with it."""
        if leg is self.leg or self.state == ENDED:
            super()._hung_up(leg, request, now)
            return
        self._drop(leg)
        if self.state == CONFIRMED:
            return
        if self.legs:
            self._host.emit(EarlyDialogEnded(self, leg.dialog))
            return
        self._step(IN_BYE)
        self.handle.cancelled = True
        self._host.order(CancelRequest(self.handle))
        self._finish(EndReason.REMOTE_BYE, now, message=request)

    def _finish(
        self,
        reason: EndReason,
        now: float,
        status: int | None = None,
        message: Request | Response | None = None,
        error: SipError | None = None,
    ) -> None:
        self._give_up.release()
        leg = self.leg
        if leg is not None and leg.ack_owed:
            self._acknowledge_success(leg, b"", None)  # each 2xx gets its ACK (§13.2.2.4), whatever ended the session
        super()._finish(reason, now, status, message, error)

    def _carried(self, leg: InviteDialog, response: Response) -> Carries:
        """What a reliable response carries; after the first answer nothing that counts (§13.2.1).

        An offer that is pending then is that of an UPDATE, whose own response will answer it.
        """
        if leg.exchange.established:
            return Carries.NOTHING
        return leg.received(response, offer_allowed=not self._offer)

    # -- branches ------------------------------------------------------------------------------------------------

    def _new_leg(self, response: Response) -> InviteDialog:
        leg = InviteDialog(Dialog.from_response(self.handle.request, response))
        if self._offer:
            leg.sent(self.handle.request)
        self.legs[leg.dialog.remote_tag] = leg
        self._host.remember(self, leg)
        return leg

    def _drop(self, leg: InviteDialog, input_: int = IN_END) -> None:
        """A branch is over before it was confirmed, and with it a change of it that is under way."""
        self.legs.pop(leg.dialog.remote_tag, None)
        self._gone.add(leg.dialog.remote_tag)
        self._close(leg, input_)
        change = self.outgoing
        if change is not None and change.leg is leg:
            self._leave(change)

    def _leave(self, change: OutgoingModification) -> None:
        """Nobody waits any more for what becomes of an UPDATE on a branch that is over, or was not taken."""
        change.withdraw()
        self.outgoing = None
        self._glare.stop()
        self._host.emit(ModificationCompleted(self, change, None, Carries.NOTHING))

    def _acknowledge_success(self, leg: InviteDialog, body: bytes, content_type: str | None) -> None:
        ack = leg.dialog.create_ack(self.handle.request, body=body, content_type=content_type if body else None)
        if leg.exchange.offer_is_theirs:
            if has_description(ack):
                leg.sent(ack)
            else:
                leg.exchange.step(WITHDRAW)
        leg.ack = ack
        leg.ack_owed = False
        self._host.order(SendAck(ack))

    def _not_answered(self, now: float) -> None:
        """The invitation's own Expires, or our patience, is over (§13.2.1): CANCEL."""
        self._expired = True
        self.cancel(now)

    def _end_branches(self, now: float) -> None:
        """64*T1 after the first 2xx (§13.2.2.4): early dialogs that were not confirmed are gone."""
        self._forget_invite()
        for leg in list(self.legs.values()):
            if leg.dialog.state == EARLY:
                self._drop(leg, IN_FAILURE)
        if self.state == INVITING:
            self._step(INVITE_FAILED)
            self._finish(EndReason.TIMEOUT, now, 408)  # every 2xx was turned down by the fork policy
        elif self.state == CANCELLING:
            self._step(INVITE_FAILED)
            self._end_as_cancelled(487, None, now)  # the same, and a CANCEL that came too late

    # -- PRACK ---------------------------------------------------------------------------------------------------

    def _prack(self, prack: _Prack, now: float) -> None:
        response, leg = prack.response, prack.leg
        cseq = response.cseq
        request = leg.dialog.create_request(
            "PRACK",
            headers=(("RAck", f"{leg.order.number(response)} {cseq.number} {cseq.method}"),),
            body=prack.body,
            content_type=prack.content_type if prack.body else None,
        )
        if prack.attempts == 0:
            leg.sent(request)
        prack.attempts += 1
        handle = ClientRequest(request, self, leg.dialog)
        handle.subject = prack
        self._host.start(handle, now)

    def _prack_answered(self, prack: _Prack, response: Response, now: float) -> None:
        wanted = self.state in (INVITING, CANCELLING) and not prack.leg.closed
        if response.status == 500 and wanted and prack.attempts < _PRACK_ATTEMPTS:
            # overtaken by a request with a higher CSeq: it has to be said again, under a new number
            self._prack(prack, now)
