"""A user agent of ours on a real endpoint, as the interop tests drive it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from switchroom.net import Endpoint, SystemIdentifiers
from switchroom.sip.client_request import Authenticator
from switchroom.sip.headers import Address
from switchroom.sip.uri import parse_uri
from switchroom.sip.user_agent import UserAgent
from switchroom.sip.user_agent_settings import UserAgentSettings

E = TypeVar("E")

SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
)


class Agent:
    """A user agent, its endpoint, and the events it told."""

    def __init__(self, endpoint: Endpoint, agent: UserAgent, address: str) -> None:
        self.endpoint = endpoint
        self.core = agent
        self.address = address
        self.events: list[object] = []
        self._news = asyncio.Event()
        self._seen = 0

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def on_event(self, event: object) -> None:
        self.events.append(event)
        self._news.set()

    def do(self, verb: Callable[..., E], *arguments: object, **named: object) -> E:
        """Call a verb of the core's, and have what it asks for carried out."""
        result = verb(*arguments, **named)
        self.endpoint.flush()
        return result

    async def expect(self, kind: type[E], within: float = 10.0) -> E:
        """The next event of *kind*; others are passed over."""
        try:
            async with asyncio.timeout(within):
                while True:
                    while self._seen < len(self.events):
                        event = self.events[self._seen]
                        self._seen += 1
                        if isinstance(event, kind):
                            return event
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"no {kind.__name__} within {within} s; events: {self.events}") from None


@asynccontextmanager
async def running_agent(
    transport: str, user: str = "switchroom", authenticator: Authenticator | None = None, **endpoint: object
) -> AsyncIterator[Agent]:
    """An `Agent` that listens on 127.0.0.1."""
    net = Endpoint([f"{transport}:127.0.0.1:0"], **endpoint)  # type: ignore[arg-type]  # passed through
    async with net:
        address = f"127.0.0.1:{net.listeners[0].port}"
        contact = Address("", parse_uri(f"sip:{user}@{address};transport={transport}"))
        settings = UserAgentSettings(contact=contact)
        settings = replace(settings, allow=(*settings.allow, "REGISTER"))
        core = UserAgent(settings, SystemIdentifiers(), authenticator=authenticator)
        agent = Agent(net, core, address)
        net.run_user(core, agent.on_event)
        yield agent
