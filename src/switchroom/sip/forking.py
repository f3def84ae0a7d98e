"""The response context of a stateful proxy (RFC 3261 §16.7): one request out to several targets, one answer back.

    context = ResponseContext(request, targets, identifiers)
    context.start(now)
    for order in context.take_orders(): ...
        # StartBranch: send the request to the target, with (context, branch) as sender
        # CancelBranch: cancel it        ForwardResponse: pass it to the server transaction
    context.receive_response(branch, response, now)    # and the other events of a client transaction
    context.cancel(now)                                # the CANCEL from upstream

Steps 1 to 10 of §16.6 (the copy, Max-Forwards, Record-Route, ...) are the proxy's; timer C and all that follows from
responses is done here.  The context is a `Timed`: after each input `touch` it in the proxy's timer queue.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from .errors import LocalProtocolError, RemoteProtocolError
from .headers import CONTACT, MAX_BREADTH, VIA, Reason
from .status import reason_phrase
from .timers import NEVER, Timed

if TYPE_CHECKING:
    from .flow import Flow
    from .identifiers import Identifiers
    from .message import Request, Response
    from .uri import Uri

PARALLEL: Final = "parallel"
"""All targets at once."""
SERIAL: Final = "serial"
"""One target after the other, the highest q first."""
BY_Q: Final = "by q"
"""Targets of one q at once, and the groups from the highest q to the lowest (§16.6)."""

_MODES: Final = frozenset((PARALLEL, SERIAL, BY_Q))
_RESUBMIT: Final = frozenset((401, 407, 415, 420, 484))
"""§16.7 step 6: "responses that provide information affecting resubmission of this request"."""
_CHALLENGES: Final = ("WWW-Authenticate", "Proxy-Authenticate")
_MAX_EARLY_DIALOGS: Final = 64

ELSEWHERE: Final = (("Reason", str(Reason.of("SIP", 200, "Call completed elsewhere"))),)
"""What a phone is told that rang in vain, so that it shows no missed call (RFC 3326 §3.1)."""
NO_ANSWER: Final = (("Reason", str(Reason.of("SIP", 408, "Request Timeout"))),)
"""What a phone is told that rang for too long."""


class ForkTarget(NamedTuple):
    """A member of the target set (§16.5)."""

    uri: Uri
    q: float = 1.0
    destination: Flow | Uri | None = None
    """Where to send it if not to where the request's Route or Request-URI leads: the flow of a registration, ..."""
    routes: tuple[str, ...] = ()
    """Route values to put on top, such as the Path of a registration (RFC 3327)."""


class ForkPolicy(NamedTuple):
    """What RFC 3261 leaves to the proxy, and the bounds."""

    mode: str = BY_Q
    timer_c: float = 185.0
    """Seconds that an INVITE may ring on a branch after its last provisional response; more than 180 (§16.6)."""
    ring_time: float = NEVER
    """Seconds after which a branch that has not answered an INVITE is cancelled, so that the next group's turn
    comes."""
    recurse: bool = True
    """Whether to try the contacts of a 3xx response, instead of passing it on."""
    max_targets: int = 32
    """How many targets one request may be sent to, redirections included."""
    max_breadth: int = 60
    """What stands in a request without Max-Breadth, or with a higher one (RFC 5393 §5.3.3)."""
    reserve: int = 0
    """How much of Max-Breadth is kept back, if there is enough, for targets that are added while others ring."""


DEFAULT_POLICY: Final = ForkPolicy()


class Branch:
    """One client transaction of a response context, from its start to its end."""

    __slots__ = (
        "cancelled",
        "deadline",
        "early_tags",
        "ended",
        "gave_up",
        "heard",
        "max_breadth",
        "number",
        "ring_until",
        "target",
    )

    def __init__(self, number: int, target: ForkTarget, max_breadth: int) -> None:
        self.number: Final = number
        """1 for the first branch of the context, and so on."""
        self.target: Final = target
        self.max_breadth: Final = max_breadth
        """The value of Max-Breadth for the request on this branch."""
        self.deadline: float = NEVER
        """When timer C fires."""
        self.ring_until: float = NEVER
        """When its ring time is over."""
        self.heard = False
        """Whether a provisional response came, 100 included."""
        self.cancelled = False
        """Whether it was told to cancel."""
        self.gave_up = False
        """Whether it was cancelled because it took too long; its 487 then means 408."""
        self.ended = False
        """Whether it has its final response or another end."""
        self.early_tags: list[str] = []
        """To tags of the early dialogs that upstream has seen from this branch, if it wants to hear of their end."""

    def __repr__(self) -> str:
        state = "ended" if self.ended else "cancelled" if self.cancelled else "under way"
        return f"<Branch {self.number} to {self.target.uri}: {state}>"


class StartBranch(NamedTuple):
    """Send the request to the target of `branch`, with `branch.max_breadth` as its Max-Breadth."""

    branch: Branch


class CancelBranch(NamedTuple):
    """Cancel the client transaction of `branch`, with `headers` in the CANCEL."""

    branch: Branch
    headers: tuple[tuple[str, str], ...]


class ForwardResponse(NamedTuple):
    """Pass `response`, which has lost our Via, to the server transaction.

    If that is gone, or (`late`) has had its final response, a 2xx is forwarded without it (§16.7 step 9).
    """

    response: Response
    late: bool = False


ForkOrder = StartBranch | CancelBranch | ForwardResponse


class ResponseContext(Timed):
    """What has become of one request that a proxy sent on.

    Guarantees, whatever the branches do: an INVITE gets exactly one final response that is not 2xx, or one or more
    2xx; any other request gets one final response, or none if there is only a 408 to tell (RFC 4320 §4.2); and no
    branch goes on ringing after a final response.
    """

    __slots__ = (
        "_active",
        "_candidates",
        "_closed",
        "_identifiers",
        "_orders",
        "_ready",
        "_taken",
        "_tried",
        "_waiting",
        "branches",
        "cancelled",
        "done",
        "final_status",
        "invite",
        "policy",
        "request",
    )

    def __init__(
        self,
        request: Request,
        targets: Iterable[ForkTarget],
        identifiers: Identifiers,
        *,
        policy: ForkPolicy = DEFAULT_POLICY,
    ) -> None:
        """Raises LocalProtocolError for a policy that RFC 3261 forbids."""
        super().__init__()
        if policy.mode not in _MODES:
            raise LocalProtocolError(f"no fork mode {policy.mode!r}: it is one of {', '.join(sorted(_MODES))}")
        if policy.timer_c <= 180:
            raise LocalProtocolError("timer C must be larger than 3 minutes (RFC 3261 §16.6 step 11)")
        self.request: Final = request
        """The request as received."""
        self.invite: Final = request.method == "INVITE"
        self.policy: Final = policy
        self.branches: list[Branch] = []
        """All branches that were started."""
        self.final_status = 0
        """The status of the first final response that was forwarded; 0 before."""
        self.cancelled = False
        """Whether upstream cancelled the request."""
        self.done = False
        """Whether all branches have ended; nothing more comes of this context but late and repeated 2xx."""
        self._identifiers: Final = identifiers
        self._orders: list[ForkOrder] = []
        self._active: list[Branch] = []
        self._candidates: list[tuple[int, Response | None]] = []
        self._closed = False  # no new branches
        self._taken = 0
        self._tried: set[Hashable] = set()
        self._ready: list[ForkTarget] = []  # their turn has come; they wait for Max-Breadth only
        self._waiting: list[list[ForkTarget]] = self._groups(targets)

    # -- inputs --------------------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Begin with the first targets; call it once.

        Without any target the answer is 480 (§16.5); with more at once than Max-Breadth allows it is 440 (RFC 5393
        §5.3.3).
        """
        if self.done:
            return  # cancelled before it began
        if not self._waiting:
            self._candidates.append((480, None))
        elif max(map(len, self._waiting)) > self._breadth():
            self._waiting.clear()
            self._candidates.append((440, None))
        self._proceed(now)

    def add_targets(self, targets: Iterable[ForkTarget], now: float) -> int:
        """Add to the target set (§16.5): the best group starts at once, others wait ahead of those waiting already.

        "At once" means as soon as Max-Breadth allows it: see `ForkPolicy.reserve`.

        Returns how many were taken: none twice, none over `max_targets`, none once the outcome is being settled.
        """
        if self._closed:
            return 0
        groups = self._groups(targets)
        count = sum(map(len, groups))
        self._queue(groups)
        if count and self.branches:
            self._proceed(now)
        return count

    def receive_response(self, branch: Branch, response: Response, now: float) -> None:
        """A response of the branch's transaction, with our Via still on top: that is taken off here."""
        response.headers.pop_first(VIA)
        if VIA not in response.headers:
            return  # §16.7 step 3: "the response was meant for this element and MUST NOT be forwarded"
        status = response.status
        if status < 200:
            self._provisional(branch, response, now)
        elif status < 300:
            self._success(branch, response, now)
        elif not branch.ended:
            self._failure(branch, response, now)

    def branch_timed_out(self, branch: Branch, now: float) -> None:
        """The branch's transaction ended without a final response: as if it were a 408 (§16.6 step 10)."""
        self._end(branch, 408, now)

    def branch_failed(self, branch: Branch, now: float) -> None:
        """The request could not be carried to the target by any hop: as if it were a 503 (§16.9)."""
        self._end(branch, 503, now)

    def cancel(self, now: float, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Upstream cancelled an INVITE (§16.10); *headers*, such as its Reason, are passed on (RFC 3326)."""
        if self.final_status or self.cancelled or not self.invite:
            return
        self.cancelled = True
        self._close(headers)
        self._proceed(now)

    def handle_timers(self, now: float) -> None:
        """Feed time: timer C, and the ring time of branches."""
        for branch in tuple(self._active):
            if branch.deadline > now and branch.ring_until > now:
                continue
            branch.gave_up = True
            self._cancel_branch(branch, NO_ANSWER)
            if not branch.heard:
                # §16.8: "If the client transaction has not received a provisional response, the proxy MUST behave as
                # if the transaction received a 408".
                self._end(branch, 408, now)
        self._update_deadline()

    def next_timer(self) -> float:
        """When to call `handle_timers`; infinity if there is nothing to wait for."""
        return self.retry_at

    # -- outputs -------------------------------------------------------------------------------------------------

    def take_orders(self) -> list[ForkOrder]:
        """What to do now, in this order; each order is handed out once."""
        orders, self._orders = self._orders, []
        return orders

    # -- responses -----------------------------------------------------------------------------------------------

    def _provisional(self, branch: Branch, response: Response, now: float) -> None:
        """§16.7 steps 2 and 5."""
        branch.heard = True
        status = response.status
        if status == 100 or branch.ended or not self.invite:
            return  # 100 is hop by hop; RFC 4320 §4.1 forbids the others but for INVITE
        if branch.deadline != NEVER:
            branch.deadline = now + self.policy.timer_c
            self._update_deadline()
        if self.final_status:
            return
        tag = response.to.tag
        if tag and self._announces_ends():
            if status == 199:
                if tag in branch.early_tags:
                    branch.early_tags.remove(tag)
            elif tag not in branch.early_tags and len(branch.early_tags) < _MAX_EARLY_DIALOGS:
                branch.early_tags.append(tag)
        self._orders.append(ForwardResponse(response))

    def _success(self, branch: Branch, response: Response, now: float) -> None:
        """§16.7 step 5: every 2xx to INVITE at once, also after a final response; of others the first."""
        if self.invite or not (branch.ended or self.final_status):
            self._orders.append(ForwardResponse(response, late=self.final_status >= 300))
            self.final_status = self.final_status or response.status
        if not branch.ended:
            self._retire(branch)
            self._close(ELSEWHERE)
            self._proceed(now)

    def _failure(self, branch: Branch, response: Response, now: float) -> None:
        """§16.7 step 4: it is a candidate for the best response, unless all it says is where else to try."""
        self._retire(branch)
        status = response.status
        if branch.gave_up and status == 487:
            self._candidates.append((408, None))  # it was cancelled for being late, not because anybody hung up
        elif 300 <= status <= 302 and self.policy.recurse and not self._closed:
            self._redirect(response)
        else:
            self._candidates.append((status, response))
            if status >= 600:  # "it MUST NOT create any new branches in this context"
                self._close((("Reason", str(Reason.of("SIP", status, reason_phrase(status)))),))
        self._proceed(now)
        self._tell_ends(branch, status)

    def _end(self, branch: Branch, status: int, now: float) -> None:
        """The branch is over without a response, as if with a *status*."""
        if not branch.ended:
            self._retire(branch)
            self._candidates.append((status, None))
            self._proceed(now)
            self._tell_ends(branch, status)

    def _retire(self, branch: Branch) -> None:
        branch.ended = True
        branch.deadline = branch.ring_until = NEVER
        self._active.remove(branch)

    def _tell_ends(self, branch: Branch, status: int) -> None:
        """RFC 6228 §6: an early dialog that is over while nothing final is said upstream is told by a 199."""
        if not self.final_status:
            for tag in branch.early_tags:
                headers = (("Reason", str(Reason.of("SIP", status, reason_phrase(status)))),)
                self._orders.append(ForwardResponse(self.request.create_response(199, to_tag=tag, headers=headers)))
        branch.early_tags.clear()

    def _redirect(self, response: Response) -> None:
        """Recurse on the contacts of a 3xx (§16.7 step 4).

        The contacts that are tried are taken out of the response; if others are left it is a candidate with those.
        One that led only back to where the request has been is remembered as a 482.
        """
        try:
            contacts = response.headers.all(CONTACT)
        except RemoteProtocolError:
            contacts = ()  # upstream may make more of it
        secure = self.request.uri.scheme == "sips"
        targets: list[ForkTarget] = []
        rest: list[str] = []
        for contact in contacts:
            uri = contact.uri
            if uri in self._tried:
                continue
            # "SHOULD NOT recurse to a non-SIPS URI if the Request-URI of the original request was a SIPS URI"
            usable = uri.scheme == "sips" or (uri.scheme == "sip" and not secure)
            if usable and self._taken + len(targets) < self.policy.max_targets:
                targets.append(ForkTarget(uri, contact.q))
            else:
                rest.append(str(contact))
        self._queue(self._groups(targets))
        if rest and len(rest) < len(contacts):
            response.headers.remove(CONTACT)
            for text in rest:
                response.headers.add(CONTACT.name, text)
        if rest or not contacts:
            self._candidates.append((response.status, response))
        elif not targets:
            self._candidates.append((482, None))

    # -- branches ------------------------------------------------------------------------------------------------

    def _groups(self, targets: Iterable[ForkTarget]) -> list[list[ForkTarget]]:
        """The targets that are new, in groups to be tried one after the other (§16.6)."""
        new: list[ForkTarget] = []
        for target in targets:
            key = (target.uri, target.destination)
            if key in self._tried or self._taken >= self.policy.max_targets:
                continue
            self._tried.add(key)
            self._tried.add(target.uri)
            self._taken += 1
            new.append(target)
        if len(new) < 2 or self.policy.mode == PARALLEL:
            return [new] if new else []
        new.sort(key=_descending_q)
        if self.policy.mode == SERIAL:
            return [[target] for target in new]
        groups: list[list[ForkTarget]] = []
        for target in new:
            if groups and groups[-1][0].q == target.q:
                groups[-1].append(target)
            else:
                groups.append([target])
        return groups

    def _queue(self, groups: list[list[ForkTarget]]) -> None:
        """Targets that turned up meanwhile: the first group at once, the others before all that wait."""
        if groups and self.branches:
            self._ready += groups.pop(0)
        self._waiting[:0] = groups

    def _breadth(self) -> int:
        """RFC 5393 §5.3.3: how many branches may be active at the same time, theirs downstream included."""
        try:
            breadth = self.request.headers.one(MAX_BREADTH)
        except RemoteProtocolError:
            breadth = None  # as if it were not there: nothing else depends on it
        return self.policy.max_breadth if breadth is None else min(breadth, self.policy.max_breadth)

    def _proceed(self, now: float) -> None:
        """Start what may be started; settle the outcome if nothing is under way."""
        if not self._closed:
            if not self._active and not self._ready and self._waiting:
                self._ready = self._waiting.pop(0)
            if self._ready:
                self._start_ready(now)
        if not self._active:
            self._settle()
        self._update_deadline()

    def _start_ready(self, now: float) -> None:
        """Share what is free of Max-Breadth among the branches that start now; the rest waits for one to end."""
        free = self._breadth()
        for branch in self._active:
            free -= branch.max_breadth
        count = min(len(self._ready), free)
        if count <= 0:
            return
        reserve = self.policy.reserve
        free = max(count, free - reserve if free >= reserve + count else (free + 1) // 2 if reserve else free)
        share, extra = divmod(free, count)
        starting, self._ready = self._ready[:count], self._ready[count:]
        for index, target in enumerate(starting):
            branch = Branch(len(self.branches) + 1, target, share + 1 if index < extra else share)
            if self.invite:
                branch.deadline = now + self.policy.timer_c
                branch.ring_until = now + self.policy.ring_time
            self.branches.append(branch)
            self._active.append(branch)
            self._orders.append(StartBranch(branch))

    def _close(self, headers: tuple[tuple[str, str], ...]) -> None:
        """No new branches, and an end to those under way (§16.7 step 10)."""
        self._closed = True
        if self.invite:  # §9.1: CANCEL is of no use for other methods
            for branch in self._active:
                self._cancel_branch(branch, headers)

    def _cancel_branch(self, branch: Branch, headers: tuple[tuple[str, str], ...]) -> None:
        branch.deadline = branch.ring_until = NEVER  # the transaction ends by itself now (§9.1)
        if not branch.cancelled:
            branch.cancelled = True
            self._orders.append(CancelBranch(branch, headers))

    def _update_deadline(self) -> None:
        due = NEVER
        for branch in self._active:
            due = min(due, branch.deadline, branch.ring_until)
        self.retry_at = due

    # -- the outcome ---------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """§16.7 step 6, when all client transactions have ended."""
        self.done = self._closed = True
        if self.final_status:
            return
        candidates = self._candidates
        if not self.invite:
            # RFC 4320 §4.2: a 408 would come after the client has given up by itself.
            candidates = [each for each in candidates if each[0] != 408]
            if not candidates:
                return
        if not candidates:
            candidates = [(487 if self.cancelled else 408, None)]
        status, response = min(candidates, key=self._rank)
        if status == 503:
            status, response = 500, None  # a 503 would stop upstream from using this proxy for anything
        elif self.cancelled and status == 408:
            status, response = 487, None  # what the caller asked for, even if the callee did not take part in it
        if response is None:
            response = self.request.create_response(status, to_tag=self._identifiers.token())
        elif status in (401, 407):
            self._aggregate_challenges(response)
        self.final_status = status
        self._orders.append(ForwardResponse(response))

    def _rank(self, candidate: tuple[int, Response | None]) -> int:
        """The lower the better; of equals the first is taken."""
        status = candidate[0]
        if status >= 600:
            return 0
        rank = status // 100 * 10
        if status == 487 and self.cancelled:
            return rank
        if status in _RESUBMIT:
            return rank + 1
        if status in (408, 482, 487, 503):
            return rank + 3  # they tell of a branch, the others of the callee
        return rank + 2

    def _aggregate_challenges(self, response: Response) -> None:
        """§16.7 step 7: the client must see the challenges of all branches to answer them all."""
        for status, other in self._candidates:
            if status in (401, 407) and other is not None and other is not response:
                for name in _CHALLENGES:
                    for value in other.headers.get_all(name):
                        response.headers.add(name, value)

    def _announces_ends(self) -> bool:
        """Whether a 199 is wanted and can be sent: RFC 6228 §6, and a proxy has no reliable responses of its own."""
        try:
            return "199" in self.request.supported and "100rel" not in self.request.require
        except RemoteProtocolError:
            return False  # nothing else depends on it


def _descending_q(target: ForkTarget) -> float:
    return -target.q
