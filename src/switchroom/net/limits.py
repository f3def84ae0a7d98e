"""The bounds and time-outs of an endpoint's transports: each has a name and a default."""

from __future__ import annotations

from typing import Final, NamedTuple


class TransportLimits(NamedTuple):
    """Bounds on what peers may make an endpoint hold open, queue and remember.  Times are in seconds."""

    connections: int = 20_000
    """Connections that clients open, in all; one more is closed at once, and counted.  As many again are opened."""
    connections_per_source: int = 4_096
    """Connections from one address (many phones may share one behind a NAT), and as many to one."""
    reconnecting: int = 16
    """Connections to one address that are being opened at once for responses whose own connection is gone: the ports
    come from the Vias of whoever is there."""
    connect_timeout: float = 5.0
    """To connect, with the TLS and WebSocket handshakes."""
    handshake_timeout: float = 10.0
    """For a client that connected to us to finish its TLS and WebSocket handshakes."""
    message_timeout: float = 32.0
    """From the first byte of a message on a stream to its last: a slower client is dropped."""
    idle_timeout: float = 3_900.0
    """Without a byte from the client on a connection that it opened: longer than a registration usually lasts."""
    keepalive_interval: float = 120.0
    """At most between pings on connections that we opened, drawn from 80 to 100 % of it (RFC 5626 §4.4.1); 0: none."""
    pong_timeout: float = 10.0
    """For the pong to a ping (RFC 5626 §4.4.1); then the flow has failed."""
    write_timeout: float = 30.0
    """For a peer that does not read to take what is queued for it."""
    write_high: int = 65_536
    """Octets queued for a peer from which on nothing more is read from it."""
    write_queue: int = 1_048_576
    """Octets queued for a peer beyond which its connection is dropped."""
    datagram_queue: int = 1_024
    """Datagrams queued while the system takes none; more are dropped (SIP repeats them)."""
    waiting_messages: int = 256
    """Messages that wait for one connection to be opened."""
    attempts: int = 100_000
    """Requests that wait for DNS, a connection or a response; more fail at once."""
    datagram_request: int = 1_300
    """Octets of a request beyond which it goes by TCP instead of UDP (RFC 3261 §18.1.1, path MTU not known)."""
    remembered: int = 4_096
    """Entries of each table that only saves work: source addresses, public addresses, who was logged lately."""
    handlers: int = 10_000
    """Coroutine handlers running at once; a request over that is answered 503."""


LIMITS: Final = TransportLimits()


class Places:
    """The connections that clients opened, or those that we did, against their bounds."""

    __slots__ = ("_by_host", "_limits", "_taken")

    def __init__(self, limits: TransportLimits) -> None:
        self._limits = limits
        self._by_host: dict[str, int] = {}
        self._taken = 0

    def take(self, host: str) -> str:
        """A connection from or to *host*: the name of the limit that forbids it, or "" and it has its place."""
        there = self._by_host.get(host, 0)
        if self._taken >= self._limits.connections:
            return "connections"
        if there >= self._limits.connections_per_source:
            return "connections_per_source"
        self._taken += 1
        self._by_host[host] = there + 1
        return ""

    def give_back(self, host: str) -> None:
        """A connection that had its place is gone."""
        self._taken -= 1
        left = self._by_host[host] - 1
        if left:
            self._by_host[host] = left
        else:
            del self._by_host[host]
