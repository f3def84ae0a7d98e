"""The four transaction machines of RFC 3261 §17, as tables: (state, input) -> (next state, actions).

Amended by RFC 6026 (Accepted, timers L and M, transport errors at the server) and RFC 4320 (non-INVITE: 100 only when
the client's timer E has reached T2, no other provisional response, no 408, nothing after 64*T1).

Everything that decides a state change is in this file.  Every input from the network and every timer has a row in
every state, if only one that says `IGNORE`; a local input without a row is the caller's bug and raises
`LocalProtocolError`.  The layer carries the actions out (layer.py).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from .errors import LocalProtocolError
from .flow import Flow
from .message import Request
from .timers import NEVER, TimerValues

# States, in an order that lets `state < ACCEPTED` mean "no final response yet".
CALLING: Final = 0
WITHDRAWN: Final = 1  # Calling, and to be cancelled as soon as a provisional response permits (§9.1)
TRYING: Final = 2
PROCEEDING: Final = 3
CANCELLING: Final = 4  # Proceeding, and a CANCEL was sent (§9.1)
ACCEPTED: Final = 5
COMPLETED: Final = 6
CONFIRMED: Final = 7
TERMINATED: Final = 8

STATE_NAMES: Final = (
    "Calling",
    "Withdrawn",
    "Trying",
    "Proceeding",
    "Cancelling",
    "Accepted",
    "Completed",
    "Confirmed",
    "Terminated",
)

# Inputs of a client transaction from the network ...
IN_1XX: Final = 0
IN_2XX: Final = 1
IN_FINAL: Final = 2  # 300 to 699
# ... of a server transaction from the network ...
IN_REQUEST: Final = 3  # the request again
IN_ACK: Final = 4
IN_CANCEL: Final = 5
# ... of both: timers and the transport ...
RETRY: Final = 6
EXPIRE: Final = 7
FAILED: Final = 8  # the path is dead, or refuses what was sent
CLOSED: Final = 9  # the connection is gone; the peer may still be reached over another one
# ... and from the transaction user.
CANCEL: Final = 10
OUT_100: Final = 11
OUT_1XX: Final = 12  # 101 to 199
OUT_2XX: Final = 13
OUT_FINAL: Final = 14  # 300 to 699
OUT_408: Final = 15  # told apart from OUT_FINAL for non-INVITE only (RFC 4320 §4.2)

INPUT_NAMES: Final = (
    "1xx",
    "2xx",
    "300-699",
    "request again",
    "ACK",
    "CANCEL",
    "retry timer",
    "expiry timer",
    "transport error",
    "connection closed",
    "cancel",
    "100 from TU",
    "101-199 from TU",
    "2xx from TU",
    "300-699 from TU",
    "408 from TU",
)

# Actions: bits, carried out in this order after the timers were set.
IGNORE: Final = 0  # an input without effect
HOLD: Final = 1  # stop both timers
BACKOFF: Final = 2  # retry again after twice the interval, T2 at most (not timer A)
SLOW: Final = 4  # retry again after T2
REPEAT: Final = 8  # start to retry after T1 on an unreliable transport, and give up after 64*T1
STAY: Final = 16  # stop retrying, linger for 64*T1 on any transport
STAY_UDP: Final = 32  # stop retrying, linger for 64*T1 on an unreliable transport, else end now
STAY_T4: Final = 64  # stop retrying, linger for T4 on an unreliable transport, else end now
REROUTE: Final = 128  # from now on send to another connection to the same peer (§18.2.2)
SEND: Final = 256  # send the latest message, or send it again
SEND_100: Final = 512  # send a 100 of the layer's own
SEND_CANCEL: Final = 1024  # send the CANCEL
SEND_ACK: Final = 2048  # send the ACK for a final response other than 2xx (§17.1.1.3)
UP: Final = 4096  # hand the message to the transaction user
REPORT: Final = 8192  # tell the transaction user, once, that the transaction failed

ACTION_NAMES: Final = (
    "stop timers",
    "double the interval",
    "interval T2",
    "start retrying for 64*T1",
    "linger 64*T1",
    "linger 64*T1 if unreliable",
    "linger T4 if unreliable",
    "reroute",
    "send",
    "send 100",
    "send CANCEL",
    "send ACK",
    "message to TU",
    "inform TU",
)

_NEEDS_TIMER_STOP: Final = HOLD | STAY | STAY_UDP | STAY_T4
_LINGER: Final = STAY | STAY_UDP | STAY_T4

Table = dict[tuple[int, int], tuple[int, int]]

# Figure 5 of RFC 3261 with §7.2 and §8.4 of RFC 6026, and CANCEL (§9.1).
CLIENT_INVITE: Final[Table] = {
    (CALLING, IN_1XX): (PROCEEDING, UP | HOLD),  # fig. 5: 1xx to TU; neither A nor B runs in Proceeding
    (CALLING, IN_2XX): (ACCEPTED, UP | STAY),  # RFC 6026 §7.2: 2xx to TU, timer M
    (CALLING, IN_FINAL): (COMPLETED, UP | SEND_ACK | STAY_UDP),  # fig. 5: ACK sent, response to TU, timer D
    (CALLING, RETRY): (CALLING, SEND | BACKOFF),  # fig. 5: timer A, without a cap (§17.1.1.2)
    (CALLING, EXPIRE): (TERMINATED, REPORT),  # fig. 5: timer B
    (CALLING, FAILED): (TERMINATED, REPORT),  # fig. 5, §17.1.4
    (CALLING, CLOSED): (TERMINATED, REPORT),  # closed unanswered: nobody will answer, and nothing is repeated
    (CALLING, CANCEL): (WITHDRAWN, IGNORE),  # §9.1: wait for a provisional response
    (WITHDRAWN, IN_1XX): (CANCELLING, UP | SEND_CANCEL | STAY),  # §9.1: now it may be sent; 64*T1 to end
    (WITHDRAWN, IN_2XX): (ACCEPTED, UP | STAY),  # as Calling: the CANCEL came too late
    (WITHDRAWN, IN_FINAL): (COMPLETED, UP | SEND_ACK | STAY_UDP),  # as Calling
    (WITHDRAWN, RETRY): (WITHDRAWN, SEND | BACKOFF),  # timer A
    (WITHDRAWN, EXPIRE): (TERMINATED, REPORT),  # timer B
    (WITHDRAWN, FAILED): (TERMINATED, REPORT),  # as Calling
    (WITHDRAWN, CLOSED): (TERMINATED, REPORT),  # as Calling
    (WITHDRAWN, CANCEL): (WITHDRAWN, IGNORE),  # cancelled already
    (PROCEEDING, IN_1XX): (PROCEEDING, UP),  # fig. 5
    (PROCEEDING, IN_2XX): (ACCEPTED, UP | STAY),  # RFC 6026 §7.2
    (PROCEEDING, IN_FINAL): (COMPLETED, UP | SEND_ACK | STAY_UDP),  # fig. 5
    (PROCEEDING, RETRY): (PROCEEDING, IGNORE),  # stopped
    (PROCEEDING, EXPIRE): (PROCEEDING, IGNORE),  # stopped
    (PROCEEDING, FAILED): (TERMINATED, REPORT),  # §17.1.4: a dead path brings no answer, and no timer runs here
    (PROCEEDING, CLOSED): (PROCEEDING, REROUTE),  # §18.2.2: the peer opens a connection to answer
    (PROCEEDING, CANCEL): (CANCELLING, SEND_CANCEL | STAY),  # §9.1: at most 64*T1 from now
    (CANCELLING, IN_1XX): (CANCELLING, UP),  # as Proceeding
    (CANCELLING, IN_2XX): (ACCEPTED, UP | STAY),  # §9.1: they crossed; the TU sends ACK and BYE
    (CANCELLING, IN_FINAL): (COMPLETED, UP | SEND_ACK | STAY_UDP),  # §9.1: the 487
    (CANCELLING, RETRY): (CANCELLING, IGNORE),  # stopped
    (CANCELLING, EXPIRE): (TERMINATED, REPORT),  # §9.1: no final response 64*T1 after the CANCEL
    (CANCELLING, FAILED): (TERMINATED, REPORT),  # as Proceeding
    (CANCELLING, CLOSED): (CANCELLING, REROUTE),  # as Proceeding
    (CANCELLING, CANCEL): (CANCELLING, IGNORE),  # cancelled already
    (ACCEPTED, IN_1XX): (ACCEPTED, IGNORE),  # RFC 6026 §7.2: only 2xx matter now
    (ACCEPTED, IN_2XX): (ACCEPTED, UP),  # RFC 6026 §7.2: again, or from another branch of a fork
    (ACCEPTED, IN_FINAL): (ACCEPTED, IGNORE),  # RFC 6026 §7.2
    (ACCEPTED, RETRY): (ACCEPTED, IGNORE),  # stopped
    (ACCEPTED, EXPIRE): (TERMINATED, IGNORE),  # timer M
    (ACCEPTED, FAILED): (ACCEPTED, IGNORE),  # nothing is sent here: the ACK is the TU's own (RFC 6026 §8.4)
    (ACCEPTED, CLOSED): (ACCEPTED, IGNORE),  # the same
    (ACCEPTED, CANCEL): (ACCEPTED, IGNORE),  # §9.1: no effect once there is a final response
    (COMPLETED, IN_1XX): (COMPLETED, IGNORE),  # out of order
    (COMPLETED, IN_2XX): (COMPLETED, IGNORE),  # fig. 5: 300-699 only
    (COMPLETED, IN_FINAL): (COMPLETED, SEND),  # fig. 5: the ACK again, nothing to TU
    (COMPLETED, RETRY): (COMPLETED, IGNORE),  # stopped
    (COMPLETED, EXPIRE): (TERMINATED, IGNORE),  # timer D
    (COMPLETED, FAILED): (TERMINATED, IGNORE),  # fig. 5 informs TU, which has its one outcome already: counted only
    (COMPLETED, CLOSED): (COMPLETED, IGNORE),  # timer D is 0 on streams, so never
    (COMPLETED, CANCEL): (COMPLETED, IGNORE),  # §9.1: as Accepted
    (TERMINATED, IN_1XX): (TERMINATED, IGNORE),  # the layer has forgotten it
    (TERMINATED, IN_2XX): (TERMINATED, IGNORE),
    (TERMINATED, IN_FINAL): (TERMINATED, IGNORE),
    (TERMINATED, RETRY): (TERMINATED, IGNORE),
    (TERMINATED, EXPIRE): (TERMINATED, IGNORE),
    (TERMINATED, FAILED): (TERMINATED, IGNORE),
    (TERMINATED, CLOSED): (TERMINATED, IGNORE),
    (TERMINATED, CANCEL): (TERMINATED, IGNORE),  # the TU and the end crossed
}

# Figure 6 of RFC 3261.  CANCEL has no row: only an INVITE is cancelled (§9.1).
CLIENT_OTHER: Final[Table] = {
    (TRYING, IN_1XX): (PROCEEDING, UP),  # fig. 6; E keeps its time (§17.1.2.2)
    (TRYING, IN_2XX): (COMPLETED, UP | STAY_T4),  # fig. 6: timer K
    (TRYING, IN_FINAL): (COMPLETED, UP | STAY_T4),  # fig. 6: timer K
    (TRYING, RETRY): (TRYING, SEND | BACKOFF),  # fig. 6: timer E, at most T2
    (TRYING, EXPIRE): (TERMINATED, REPORT),  # fig. 6: timer F
    (TRYING, FAILED): (TERMINATED, REPORT),  # fig. 6
    (TRYING, CLOSED): (TERMINATED, REPORT),  # closed unanswered: nobody will answer, and nothing is repeated
    (PROCEEDING, IN_1XX): (PROCEEDING, UP),  # fig. 6
    (PROCEEDING, IN_2XX): (COMPLETED, UP | STAY_T4),  # fig. 6: timer K
    (PROCEEDING, IN_FINAL): (COMPLETED, UP | STAY_T4),  # fig. 6: timer K
    (PROCEEDING, RETRY): (PROCEEDING, SEND | SLOW),  # fig. 6: timer E is T2 from now on
    (PROCEEDING, EXPIRE): (TERMINATED, REPORT),  # fig. 6: timer F
    (PROCEEDING, FAILED): (TERMINATED, REPORT),  # fig. 6
    (PROCEEDING, CLOSED): (PROCEEDING, IGNORE),  # §18.2.2: the peer opens a connection to answer; F runs
    (COMPLETED, IN_1XX): (COMPLETED, IGNORE),  # §17.1.2.2: absorbed
    (COMPLETED, IN_2XX): (COMPLETED, IGNORE),
    (COMPLETED, IN_FINAL): (COMPLETED, IGNORE),
    (COMPLETED, RETRY): (COMPLETED, IGNORE),  # stopped
    (COMPLETED, EXPIRE): (TERMINATED, IGNORE),  # fig. 6: timer K
    (COMPLETED, FAILED): (COMPLETED, IGNORE),  # nothing is sent here
    (COMPLETED, CLOSED): (COMPLETED, IGNORE),
    (TERMINATED, IN_1XX): (TERMINATED, IGNORE),  # the layer has forgotten it
    (TERMINATED, IN_2XX): (TERMINATED, IGNORE),
    (TERMINATED, IN_FINAL): (TERMINATED, IGNORE),
    (TERMINATED, RETRY): (TERMINATED, IGNORE),
    (TERMINATED, EXPIRE): (TERMINATED, IGNORE),
    (TERMINATED, FAILED): (TERMINATED, IGNORE),
    (TERMINATED, CLOSED): (TERMINATED, IGNORE),
}

# Figure 7 of RFC 3261 as RFC 6026 §8.7 redraws it: a transport error is told to the TU and ends nothing.
# A response after the final one has no row, but for the 2xx that the TU repeats (§13.3.1.4).
SERVER_INVITE: Final[Table] = {
    (PROCEEDING, IN_REQUEST): (PROCEEDING, SEND),  # fig. 7: the latest provisional response, if any
    (PROCEEDING, IN_ACK): (PROCEEDING, IGNORE),  # nothing to acknowledge yet
    (PROCEEDING, IN_CANCEL): (PROCEEDING, UP),  # §9.2: the TU answers 487
    (PROCEEDING, RETRY): (PROCEEDING, SEND_100),  # fig. 7: TU gave no response within 200 ms
    (PROCEEDING, EXPIRE): (PROCEEDING, IGNORE),  # no such timer: ringing may last
    (PROCEEDING, FAILED): (PROCEEDING, REPORT),  # RFC 6026 fig. 7
    (PROCEEDING, CLOSED): (PROCEEDING, REROUTE),  # §18.2.2
    (PROCEEDING, OUT_1XX): (PROCEEDING, SEND | HOLD),  # fig. 7
    (PROCEEDING, OUT_2XX): (ACCEPTED, SEND | STAY),  # RFC 6026 §7.1: timer L
    (PROCEEDING, OUT_FINAL): (COMPLETED, SEND | REPEAT),  # fig. 7: timers G and H
    (ACCEPTED, IN_REQUEST): (ACCEPTED, IGNORE),  # RFC 6026 §7.1: absorbed
    (ACCEPTED, IN_ACK): (ACCEPTED, UP),  # RFC 6026 fig. 7
    (ACCEPTED, IN_CANCEL): (ACCEPTED, IGNORE),  # §9.2: too late
    (ACCEPTED, RETRY): (ACCEPTED, IGNORE),  # stopped
    (ACCEPTED, EXPIRE): (TERMINATED, IGNORE),  # timer L
    (ACCEPTED, FAILED): (ACCEPTED, REPORT),  # RFC 6026 fig. 7
    (ACCEPTED, CLOSED): (ACCEPTED, REROUTE),  # §18.2.2: the TU repeats the 2xx
    (ACCEPTED, OUT_2XX): (ACCEPTED, SEND),  # RFC 6026 fig. 7
    (COMPLETED, IN_REQUEST): (COMPLETED, SEND),  # fig. 7
    (COMPLETED, IN_ACK): (CONFIRMED, STAY_T4),  # fig. 7: timer I
    (COMPLETED, IN_CANCEL): (COMPLETED, IGNORE),  # §9.2: too late
    (COMPLETED, RETRY): (COMPLETED, SEND | BACKOFF),  # fig. 7: timer G, at most T2
    (COMPLETED, EXPIRE): (TERMINATED, REPORT),  # timer H (§17.2.1)
    (COMPLETED, FAILED): (COMPLETED, REPORT),  # RFC 6026 fig. 7
    (COMPLETED, CLOSED): (COMPLETED, REROUTE | SEND),  # §18.2.2: no ACK yet, so it may have been lost with it
    (CONFIRMED, IN_REQUEST): (CONFIRMED, IGNORE),  # fig. 7: absorbed
    (CONFIRMED, IN_ACK): (CONFIRMED, IGNORE),  # §17.2.1: what timer I is for
    (CONFIRMED, IN_CANCEL): (CONFIRMED, IGNORE),  # §9.2: too late
    (CONFIRMED, RETRY): (CONFIRMED, IGNORE),  # stopped
    (CONFIRMED, EXPIRE): (TERMINATED, IGNORE),  # fig. 7: timer I
    (CONFIRMED, FAILED): (CONFIRMED, IGNORE),  # nothing is sent here
    (CONFIRMED, CLOSED): (CONFIRMED, IGNORE),
    (TERMINATED, IN_REQUEST): (TERMINATED, IGNORE),  # the layer has forgotten it
    (TERMINATED, IN_ACK): (TERMINATED, IGNORE),
    (TERMINATED, IN_CANCEL): (TERMINATED, IGNORE),
    (TERMINATED, RETRY): (TERMINATED, IGNORE),
    (TERMINATED, EXPIRE): (TERMINATED, IGNORE),
    (TERMINATED, FAILED): (TERMINATED, IGNORE),
    (TERMINATED, CLOSED): (TERMINATED, IGNORE),
}

# Figure 8 of RFC 3261 with RFC 4320.  101-199 has no row: forbidden (RFC 4320 §4.1).
SERVER_OTHER: Final[Table] = {
    (TRYING, IN_REQUEST): (TRYING, IGNORE),  # §17.2.2: discarded
    (TRYING, IN_CANCEL): (TRYING, IGNORE),  # §9.2: no effect but on INVITE
    (TRYING, RETRY): (PROCEEDING, SEND_100),  # RFC 4320 §4.1: the client's timer E has reached T2
    (TRYING, EXPIRE): (TERMINATED, REPORT),  # RFC 4320 §4.2: too late for any response
    (TRYING, FAILED): (TRYING, IGNORE),  # fig. 8: nothing was sent yet
    (TRYING, CLOSED): (TRYING, REROUTE),  # §18.2.2
    (TRYING, OUT_100): (TRYING, IGNORE),  # RFC 4320 §4.1: not this early; the layer will send it in time
    (TRYING, OUT_2XX): (COMPLETED, SEND | STAY_UDP),  # fig. 8: timer J
    (TRYING, OUT_FINAL): (COMPLETED, SEND | STAY_UDP),  # fig. 8: timer J
    (TRYING, OUT_408): (TRYING, IGNORE),  # RFC 4320 §4.2: never sent
    (PROCEEDING, IN_REQUEST): (PROCEEDING, SEND),  # fig. 8
    (PROCEEDING, IN_CANCEL): (PROCEEDING, IGNORE),  # §9.2
    (PROCEEDING, RETRY): (PROCEEDING, IGNORE),  # stopped
    (PROCEEDING, EXPIRE): (TERMINATED, REPORT),  # RFC 4320 §4.2
    (PROCEEDING, FAILED): (TERMINATED, REPORT),  # fig. 8
    (PROCEEDING, CLOSED): (PROCEEDING, REROUTE),  # §18.2.2
    (PROCEEDING, OUT_100): (PROCEEDING, SEND),  # fig. 8
    (PROCEEDING, OUT_2XX): (COMPLETED, SEND | STAY_UDP),  # fig. 8: timer J
    (PROCEEDING, OUT_FINAL): (COMPLETED, SEND | STAY_UDP),  # fig. 8: timer J
    (PROCEEDING, OUT_408): (PROCEEDING, IGNORE),  # RFC 4320 §4.2: never sent
    (COMPLETED, IN_REQUEST): (COMPLETED, SEND),  # fig. 8
    (COMPLETED, IN_CANCEL): (COMPLETED, IGNORE),  # §9.2
    (COMPLETED, RETRY): (COMPLETED, IGNORE),  # stopped
    (COMPLETED, EXPIRE): (TERMINATED, IGNORE),  # fig. 8: timer J
    (COMPLETED, FAILED): (TERMINATED, REPORT),  # fig. 8
    (COMPLETED, CLOSED): (COMPLETED, IGNORE),  # timer J is 0 on streams, so never
    (COMPLETED, OUT_100): (COMPLETED, IGNORE),  # late
    (COMPLETED, OUT_2XX): (COMPLETED, IGNORE),  # §17.2.2: any other final response is discarded
    (COMPLETED, OUT_FINAL): (COMPLETED, IGNORE),
    (COMPLETED, OUT_408): (COMPLETED, IGNORE),
    (TERMINATED, IN_REQUEST): (TERMINATED, IGNORE),  # the layer has forgotten it
    (TERMINATED, IN_CANCEL): (TERMINATED, IGNORE),
    (TERMINATED, RETRY): (TERMINATED, IGNORE),
    (TERMINATED, EXPIRE): (TERMINATED, IGNORE),
    (TERMINATED, FAILED): (TERMINATED, IGNORE),
    (TERMINATED, CLOSED): (TERMINATED, IGNORE),
    (TERMINATED, OUT_100): (TERMINATED, IGNORE),  # RFC 4320 §4.2: a late response is not sent
    (TERMINATED, OUT_2XX): (TERMINATED, IGNORE),
    (TERMINATED, OUT_FINAL): (TERMINATED, IGNORE),
    (TERMINATED, OUT_408): (TERMINATED, IGNORE),
}

INVITE_ANSWER_DELAY: Final = 0.2
"""Seconds after which the layer sends 100 to an INVITE by itself (§17.2.1)."""


def other_answer_delay(timers: TimerValues) -> float:
    """How long a client's timer E takes to be reset to T2: when 100 is due to a non-INVITE (RFC 4320 §4.1)."""
    elapsed = interval = timers.t1
    while interval * 2 < timers.t2:
        interval *= 2
        elapsed += interval
    return elapsed


class Transaction:
    """One transaction: its state, its two deadlines (an item of a `TimerQueue`) and the latest message sent.

    `flow` is where its messages go.  `request` is what began it, kept until the final response; after that None.
    """

    __slots__ = (
        "expire_at",
        "flow",
        "interval",
        "key",
        "method",
        "queued_at",
        "request",
        "retry_at",
        "state",
        "table",
        "wire",
    )

    def __init__(self, table: Table, state: int, key: str, method: str, flow: Flow, request: Request) -> None:
        self.expire_at: float = NEVER
        self.retry_at: float = NEVER
        self.queued_at: float = NEVER
        self.table = table
        self.state = state
        self.key = key
        self.method = method
        self.flow = flow
        self.request: Request | None = request
        self.wire = b""
        self.interval = 0.0

    @property
    def pending(self) -> bool:
        """Whether there is no final response yet."""
        return self.state < ACCEPTED

    @property
    def state_name(self) -> str:
        """The state's name in the RFCs."""
        return STATE_NAMES[self.state]

    def step(self, event: int, now: float, timers: TimerValues) -> int:
        """Take one input: change state, set the deadlines, return the actions that the layer shall carry out.

        Raises LocalProtocolError when the transaction user asks for what this state does not allow.
        """
        row = self.table.get((self.state, event))
        if row is None:
            raise LocalProtocolError(f"{self.method} transaction in state {self.state_name}: no {INPUT_NAMES[event]}")
        self.state, actions = row
        if event == RETRY:
            self.retry_at = NEVER
        elif event == EXPIRE:
            self.expire_at = NEVER
        if actions & _NEEDS_TIMER_STOP:
            self.retry_at = self.expire_at = NEVER
        if actions & BACKOFF:
            self.interval *= 2
            if self.table is not CLIENT_INVITE and self.interval > timers.t2:
                self.interval = timers.t2
            self.retry_at = now + self.interval
        elif actions & SLOW:
            self.retry_at = now + timers.t2
        elif actions & REPEAT:
            self._repeat(now, timers)
        elif actions & _LINGER:
            if actions & STAY or not self.flow.reliable:
                self.expire_at = now + (timers.t4 if actions & STAY_T4 else 64 * timers.t1)
            else:
                self.state = TERMINATED  # the timer is zero, so it fires at once
        if self.state == TERMINATED:
            self.retry_at = self.expire_at = NEVER
        return actions

    def _repeat(self, now: float, timers: TimerValues) -> None:
        """Start to send again after T1, unless the transport does that by itself, and to give up after 64*T1."""
        self.interval = timers.t1
        self.retry_at = NEVER if self.flow.reliable else now + timers.t1
        self.expire_at = now + 64 * timers.t1


class ClientTransaction(Transaction):
    """A request of ours and the responses to it (RFC 3261 §17.1), begun: timers A and B, or E and F, run.

    `sender` is the transaction user's own mark.
    """

    __slots__ = ("cancel_request", "sender")

    def __init__(
        self, key: str, method: str, flow: Flow, request: Request, sender: Hashable, now: float, timers: TimerValues
    ) -> None:
        if method == "INVITE":
            super().__init__(CLIENT_INVITE, CALLING, key, method, flow, request)
        else:
            super().__init__(CLIENT_OTHER, TRYING, key, method, flow, request)
        self.sender = sender
        self.cancel_request: Request | None = None
        self._repeat(now, timers)

    @property
    def branch(self) -> str:
        """The branch parameter of our Via, the same for a CANCEL as for what it cancels (RFC 3261 §9.1)."""
        return self.key.partition(" ")[0]


class ServerTransaction(Transaction):
    """A request of the peer's and our responses to it (RFC 3261 §17.2), begun: it has just arrived.

    It is answered 100 at `trying_at` if nothing else was sent by then, and not at all after `end_at`.  `source` is the
    address that it came from, `sent_by_port` the port of its Via, `ack_key` that of an RFC 2543 client's ACK, `octets`
    the size of what is held for it, `request_octets` that of its request as it came.
    """

    __slots__ = ("ack_key", "failure_told", "octets", "request_octets", "sent_by_port", "source", "user")

    def __init__(self, key: str, method: str, flow: Flow, request: Request, trying_at: float, end_at: float) -> None:
        if method == "INVITE":
            super().__init__(SERVER_INVITE, PROCEEDING, key, method, flow, request)
        else:
            super().__init__(SERVER_OTHER, TRYING, key, method, flow, request)
        self.retry_at = trying_at
        self.expire_at = end_at
        self.source = flow.remote[0]
        self.sent_by_port = flow.remote[1]
        self.ack_key = ""
        self.octets = 0
        self.request_octets = 0
        self.failure_told = False
        self.user: object = None
        """Whoever answers it: a note of the driver, which tells that one what becomes of it."""


def classify_response(status: int) -> int:
    """The input that a received response is."""
    if status < 200:
        return IN_1XX
    return IN_2XX if status < 300 else IN_FINAL


def classify_answer(method: str, status: int) -> int:
    """The input that a response given by the transaction user is; *method* is that of the request."""
    if 200 <= status < 300:
        return OUT_2XX
    if method == "INVITE":
        return OUT_1XX if status < 200 else OUT_FINAL
    if status == 408:
        return OUT_408
    if status >= 300:
        return OUT_FINAL
    return OUT_100 if status == 100 else OUT_1XX
