"""Subscriptions: refreshed, and ended by either side, by time, or by a network that is gone."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from tests.lab.scenario import Party, links, lose, over, request_of

from switchroom.lab import Lab, Link
from switchroom.lab.pytest_plugin import OverSeeds
from switchroom.sip.event import Notified, Subscriber, SubscriberSettings, SubscriptionEnded
from switchroom.sip.headers import Event
from switchroom.sip.notifier import (
    Notifier,
    NotifierSettings,
    PackageSettings,
    ServerSubscription,
    SubscriptionClosed,
    SubscriptionRequested,
)

PRESENCE = "application/pidf+xml"


class Watched:
    """Bob's state, and those who watch it."""

    def __init__(self, party: Party) -> None:
        self.party = party
        settings = NotifierSettings(party.agent.contact, {"presence": PackageSettings(120, 60, 120)})
        self.notifier = Notifier(settings, party.identifiers)
        party.agent.attach(self.notifier)
        party.on[SubscriptionRequested] = self._asked

    def _asked(self, event: SubscriptionRequested) -> None:
        self.party.attempt(lambda now: self.notifier.accept(event.subscription, now, b"state 0", PRESENCE))

    @property
    def subscriptions(self) -> list[ServerSubscription]:
        return list(self.notifier.subscriptions.values())

    def changes(self, body: bytes) -> None:
        """The state is another one."""
        for subscription in self.subscriptions:
            self.party.attempt(lambda now, s=subscription: self.notifier.notify(s, now, body, PRESENCE))

    def ends(self) -> None:
        """No more of it."""
        for subscription in self.subscriptions:
            self.party.attempt(lambda now, s=subscription: self.notifier.end(s, now))


async def subscribe(lab: Lab, *, end: str) -> None:
    """Alice watches bob for ten minutes, in which his state changes; then it ends."""
    alice, bob = Party(lab, "alice", "192.0.2.1"), Party(lab, "bob", "192.0.2.2")
    watched = Watched(bob)
    settings = SubscriberSettings(
        target=bob.aor.uri, event=Event("presence"), local=alice.aor, contact=alice.agent.contact, expires=120,
        resubscribe=False,
    )  # fmt: skip
    subscriber = Subscriber(settings, alice.identifiers)
    alice.agent.attach(subscriber)
    if end == "no NOTIFY":
        lose(lab, request_of("NOTIFY"))
    async with alice.endpoint, bob.endpoint:
        alice.attempt(subscriber.start)
        for minute in range(1, 10):
            await asyncio.sleep(60 + lab.identifiers.random())
            watched.changes(b"state %d" % minute)
        if end == "unsubscribe":
            alice.attempt(subscriber.stop)
        elif end == "notifier":
            watched.ends()
        elif end == "crossing":
            watched.ends()
            alice.attempt(subscriber.stop)
        elif end == "cut":
            lab.network.partition({"alice"})
        elif end == "no SUBSCRIBE":
            lose(lab, request_of("SUBSCRIBE"))
        await asyncio.sleep(400)
        alice.attempt(subscriber.stop)  # whatever is left by now
        await over(lab, alice, bob)

    ended, closed = alice.told(SubscriptionEnded), bob.told(SubscriptionClosed)
    assert len(ended) == 1
    assert subscriber.subscriptions == []
    assert watched.notifier.subscriptions == {}
    requested = [event.subscription for event in bob.told(SubscriptionRequested)]
    assert [event.subscription for event in closed] == requested
    if lab.network.link.loss:
        return
    assert len(requested) == 1
    if end == "no NOTIFY":
        assert alice.told(Notified) == []
        assert closed[0].reason is None
        return
    told = [event.request.body for event in alice.told(Notified) if event.request.body]
    assert told[0] == b"state 0"
    assert b"state 9" in told or end not in ("unsubscribe",)
    reasons = {"notifier": "noresource", "unsubscribe": "timeout", "crossing": "noresource"}
    if end in reasons:
        assert ended[0].reason == reasons[end]
    if end in ("cut", "no SUBSCRIBE"):
        assert closed[0].reason in ("timeout", None)


ENDS = ["unsubscribe", "notifier", "crossing", "cut", "no SUBSCRIBE", "no NOTIFY"]


@links
@pytest.mark.parametrize("end", ENDS)
def test_the_end_of_a_subscription(over_seeds: OverSeeds, link: Link, end: str) -> None:
    over_seeds(partial(subscribe, end=end), link=link)
