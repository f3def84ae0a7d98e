"""A proxy that forks, as small as the response context of RFC 3261 §16.7 allows; it does not record its route."""

from __future__ import annotations

from switchroom.lab import Lab, SeededIdentifiers
from switchroom.net.endpoint import Endpoint
from switchroom.sip.forking import (
    Branch,
    CancelBranch,
    ForkPolicy,
    ForkTarget,
    ForwardResponse,
    ResponseContext,
    StartBranch,
)
from switchroom.sip.layer import (
    CancelReceived,
    Event,
    RequestFailed,
    RequestReceived,
    RequestTimedOut,
    ResponseFailed,
    ResponseReceived,
)
from switchroom.sip.orders import CancelRequest, Order, SendRequest, SendResponse
from switchroom.sip.timers import NEVER
from switchroom.sip.transaction import ServerTransaction
from switchroom.sip.uri import parse_uri


class ForkingProxy:
    """Sends every request on to all targets at once."""

    def __init__(self, lab: Lab, address: str, *targets: str, mode: str = "parallel", ring_time: float = NEVER) -> None:
        self.endpoint: Endpoint = lab.endpoint(address, ("udp",), name="proxy")
        self.targets = [ForkTarget(parse_uri(target), q=1.0 / (number + 1)) for number, target in enumerate(targets)]
        self.policy = ForkPolicy(mode=mode, ring_time=ring_time)
        self.identifiers = SeededIdentifiers(f"{lab.seed}/proxy")
        self.contexts: dict[ServerTransaction, ResponseContext] = {}
        self._orders: list[Order] = []
        self.endpoint.run_user(self)

    def receive(self, event: Event, now: float) -> None:
        if isinstance(event, RequestReceived):
            context = ResponseContext(event.request, self.targets, self.identifiers, policy=self.policy)
            self.contexts[event.transaction] = context
            context.start(now)
            self._drive(event.transaction, context)
        elif isinstance(event, CancelReceived):
            self.contexts[event.transaction].cancel(now)
            self._drive(event.transaction, self.contexts[event.transaction])
        elif isinstance(event, ResponseReceived | RequestTimedOut | RequestFailed):
            transaction, branch = event.sender  # type: ignore[misc]  # as StartBranch below made it
            context = self.contexts[transaction]
            if isinstance(event, ResponseReceived):
                context.receive_response(branch, event.response, now)
            elif isinstance(event, RequestTimedOut):
                context.branch_timed_out(branch, now)
            else:
                context.branch_failed(branch, now)
            self._drive(transaction, context)
        elif isinstance(event, ResponseFailed):
            return  # nobody acknowledged a failure: there is nothing that a proxy could do about it

    def handle_timers(self, now: float) -> None:
        for transaction, context in self.contexts.items():
            if context.next_timer() <= now:
                context.handle_timers(now)
                self._drive(transaction, context)

    def next_timer(self) -> float:
        return min((context.next_timer() for context in self.contexts.values()), default=NEVER)

    def take_orders(self) -> list[Order]:
        orders, self._orders = self._orders, []
        return orders

    def take_events(self) -> list[object]:
        return []

    def _drive(self, transaction: ServerTransaction, context: ResponseContext) -> None:
        for order in context.take_orders():
            if isinstance(order, StartBranch):
                self._orders.append(self._start(transaction, context, order.branch))
            elif isinstance(order, CancelBranch):
                self._orders.append(CancelRequest((transaction, order.branch), order.headers))
            elif isinstance(order, ForwardResponse):
                self._orders.append(SendResponse(transaction, order.response))

    def _start(self, transaction: ServerTransaction, context: ResponseContext, branch: Branch) -> SendRequest:
        request = context.request.copy()
        request.uri = branch.target.uri
        request.headers.set("Max-Forwards", str((request.max_forwards or 70) - 1))
        request.headers.set("Max-Breadth", str(branch.max_breadth))
        return SendRequest(request, (transaction, branch))
