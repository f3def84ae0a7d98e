"""Addresses: what to listen on, what a Via says, and which of this machine's addresses a peer sees."""

from __future__ import annotations

import socket
from asyncio import AbstractEventLoop
from typing import Final, NamedTuple

from ..sip.errors import LocalProtocolError
from ..sip.flow import TCP, TLS, UDP, WS, WSS
from ..sip.locating import DEFAULT_PORTS, canonical_address
from .errors import transport_error
from .loop import has_sockets

_TRANSPORTS: Final = {"udp": UDP, "tcp": TCP, "tls": TLS, "ws": WS, "wss": WSS}
_WILDCARDS: Final = frozenset(("0.0.0.0", "::"))


class ListenAddress(NamedTuple):
    """Where to listen, or where an endpoint listens: `UDP`, `TCP`, ..., a numeric host, a port."""

    transport: str
    host: str
    port: int

    @property
    def wildcard(self) -> bool:
        """Whether this means all addresses of the machine."""
        return self.host in _WILDCARDS

    def __str__(self) -> str:
        return f"{self.transport.lower()}:{host_port(self.host, self.port)}"


def parse_listen(text: str) -> ListenAddress:
    """Parse "udp:0.0.0.0:5060", "tls:[::1]:0", or "tcp:192.0.2.1" (the default port of the transport).

    Port 0 takes any free one.  Raises LocalProtocolError for anything else.
    """
    word, _, rest = text.partition(":")
    transport = _TRANSPORTS.get(word.lower())
    host, port = split_host_port(rest)
    address = canonical_address(host) if host else None
    if transport is None or address is None or not 0 <= (port or 0) <= 65535:
        raise LocalProtocolError(
            f"cannot listen on {text!r}: write transport:address:port with udp, tcp, tls, ws or wss, a numeric address "
            "(IPv6 in brackets) and a port, such as udp:0.0.0.0:5060"
        )
    return ListenAddress(transport, address, DEFAULT_PORTS[transport] if port is None else port)


def split_host_port(text: str) -> tuple[str, int | None]:
    """Split "host:port", "[v6]:port" or a host alone; the brackets go.  A port that is no number gives port -1."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port[1:] if port.startswith(":") else port
    elif text.count(":") > 1:
        return text, None
    else:
        host, _, port = text.partition(":")
    if not port:
        return host, None
    return host, int(port) if port.isascii() and port.isdigit() else -1


def host_port(host: str, port: int) -> str:
    """Write "host:port", an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class SourceAddresses:
    """Which of this machine's addresses packets to a host carry, when a socket is bound to all of them.

    The system's routing table knows: a datagram socket that is connected (which sends nothing) is given the address.
    The answers are kept for `LIFETIME` seconds.  On a loop without sockets the bound address is all there is.
    """

    LIFETIME: Final = 60.0

    __slots__ = ("_capacity", "_known", "_loop", "_sockets")

    def __init__(self, loop: AbstractEventLoop, capacity: int) -> None:
        self._loop = loop
        self._sockets = has_sockets(loop)
        self._capacity = capacity
        self._known: dict[str, tuple[str, float]] = {}

    def towards(self, host: str, bound: str) -> str:
        """The local address for a peer at *host*, from a socket bound to *bound*.

        Raises TransportError when there is no route.
        """
        if bound not in _WILDCARDS or not self._sockets:
            return bound
        now = self._loop.time()
        known = self._known.get(host)
        if known is not None and known[1] > now:
            return known[0]
        found = _source_address(host)
        self._known.pop(host, None)
        if len(self._known) >= self._capacity:
            del self._known[next(iter(self._known))]
        self._known[host] = (found, now + self.LIFETIME)
        return found


def _source_address(host: str) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))  # any port: nothing is sent
            address: str = probe.getsockname()[0]
            return address
    except OSError as error:
        raise transport_error(error, f"cannot reach {host}") from error
