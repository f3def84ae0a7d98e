"""Hosts, subnets, and the packets between them."""

from __future__ import annotations

import contextvars
import errno
import os
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Protocol

from .errors import LabError
from .record import DELIVERED, LOST, Address, Passage

if TYPE_CHECKING:
    from .nat import NatBox
    from .network import MemoryNetwork

UDP: Final = "UDP"
TCP: Final = "TCP"

_FIRST_EPHEMERAL: Final = 49152
_running_on: contextvars.ContextVar[tuple[Host, ...]] = contextvars.ContextVar("switchroom lab hosts", default=())
# Not tokens kept in the host: many tasks may be "on" it at a time, each in a context of its own.


def running_on(network: MemoryNetwork) -> Host | None:
    """The host of *network* on which the code of this context runs, if anybody has said so."""
    hosts = _running_on.get()
    return hosts[-1] if hosts and hosts[-1].network is network else None


@lru_cache(maxsize=4096)
def canonical(host: str) -> str:
    """An IP address in its canonical spelling; raises ValueError when it is none."""
    return str(ip_address(host.partition("%")[0]))


def address_of(host: str, port: int) -> Address:
    """The canonical (host, port); raises ValueError when *host* is no IP address."""
    return canonical(host), port


def socket_address(address: Address) -> tuple[Any, ...]:
    """As the `socket` module writes it: four fields for IPv6."""
    return (*address, 0, 0) if ":" in address[0] else address


def is_loopback(host: str) -> bool:
    """Whether an address means the host itself."""
    return host.startswith("127.") or host == "::1"


def wildcard_of(host: str) -> str:
    """The wildcard address of the same family."""
    return "::" if ":" in host else "0.0.0.0"


def os_error(number: int, detail: str = "") -> OSError:
    """The error that a system call would raise."""
    return OSError(number, os.strerror(number) + (f": {detail}" if detail else ""))


class Packet:
    """A packet between two nodes.  Immutable, but for the record that it keeps of its fate."""

    __slots__ = (
        "destination",
        "hops",
        "on_lost",
        "origin",
        "passage",
        "payload",
        "protocol",
        "sender",
        "size",
        "source",
    )

    def __init__(
        self,
        protocol: str,
        sender: Host,
        source: Address,
        destination: Address,
        payload: Any,
        size: int,
        *,
        passage: Passage | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self.protocol = protocol
        self.sender = sender
        self.origin = (source, destination)
        """The addresses as the sender wrote them, before any translation."""
        self.source = source
        self.destination = destination
        self.payload = payload
        self.size = size
        self.passage = passage
        self.on_lost = on_lost
        self.hops = 0

    def readdressed(self, source: Address | None = None, destination: Address | None = None) -> Packet:
        """The same packet as a NAT box sends it on."""
        packet = Packet.__new__(Packet)
        for name in Packet.__slots__:
            setattr(packet, name, getattr(self, name))
        if source is not None:
            packet.source = source
        if destination is not None:
            packet.destination = destination
        return packet

    def note(self, what: str) -> None:
        """Record what became of it."""
        if self.passage is not None:
            self.passage.ends(self.sender.network.time(), what)

    def delivered(self) -> None:
        """It reached the code that it was meant for."""
        self.note(DELIVERED)

    def lost(self, what: str = LOST) -> None:
        """It vanishes: record why, and let a stream repeat it."""
        self.note(what)
        if self.on_lost is not None:
            self.on_lost()


class Node(Protocol):
    """What stands in a subnet under an address: a host or a NAT box."""

    name: str
    up: bool

    def receive(self, packet: Packet, subnet: Subnet) -> None: ...


class Subnet:
    """One address space: the internet, or what is behind one NAT box."""

    def __init__(self, name: str, gateway: NatBox | None = None) -> None:
        self.name = name
        self.gateway = gateway
        self._nodes: dict[str, Node] = {}

    def add(self, address: str, node: Node) -> None:
        """Give *address* to *node*."""
        address = canonical(address)
        if address in self._nodes:
            raise LabError(f"{address} belongs to {self._nodes[address].name} already")
        self._nodes[address] = node

    def remove(self, address: str) -> None:
        """Take *address* back."""
        del self._nodes[canonical(address)]

    def node(self, address: str) -> Node | None:
        """Who has *address* here."""
        return self._nodes.get(address)


class Listener(Protocol):
    """A datagram endpoint or a listening server, bound to a port of a host."""

    local: Address

    def deliver(self, packet: Packet) -> None: ...
    def crash(self) -> None: ...


class Connection(Protocol):
    """One end of a stream."""

    def deliver(self, packet: Packet) -> None: ...
    def crash(self) -> None: ...


class Host:
    """A machine with addresses and ports.

    Use it as a context manager, or `run` code in it, where the code binds to a wildcard address or connects without
    saying from where:

        with network.host("alice", "192.0.2.10"):
            transport, _ = await loop.create_datagram_endpoint(Protocol, local_addr=("0.0.0.0", 5060))
    """

    def __init__(self, network: MemoryNetwork, name: str, addresses: Iterable[str], subnet: Subnet) -> None:
        self.name = name
        self.network = network
        self.subnet = subnet
        self.up = True
        """A host that is down neither sends nor receives, as if its cable were pulled."""
        self.refuses = True
        """Ports where nobody listens answer (ICMP port unreachable, TCP reset); False: silence, as a firewall."""
        self.connections: dict[tuple[Address, Address], Connection] = {}
        """The stream ends here, by local and remote address."""
        self._addresses: list[str] = []
        self._ports: dict[tuple[str, int], list[Listener]] = {}
        self._ephemeral = _FIRST_EPHEMERAL
        self.set_addresses(*addresses)

    def __repr__(self) -> str:
        return f"<Host {self.name} {' '.join(self._addresses)}>"

    def __enter__(self) -> Host:
        _running_on.set((*_running_on.get(), self))
        return self

    def __exit__(self, *exc_info: object) -> None:
        _running_on.set(_running_on.get()[:-1])

    def context(self) -> contextvars.Context:
        """A copy of the current context in which this host is the one that code runs on."""
        context = contextvars.copy_context()
        context.run(_running_on.set, (self,))
        return context

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses, without the loopback ones."""
        return tuple(self._addresses)

    def set_addresses(self, *addresses: str) -> None:
        """Give it these addresses and no others; sockets bound to a wildcard use the new ones at once."""
        for address in self._addresses:
            self.subnet.remove(address)
        self._addresses = []
        for address in map(canonical, addresses):
            if not is_loopback(address):
                self.subnet.add(address, self)
                self._addresses.append(address)

    def owns(self, address: str) -> bool:
        """Whether code here may bind to *address*."""
        return address in self._addresses or is_loopback(address)

    def source_for(self, destination: str) -> str:
        """The address that packets to *destination* come from; OSError when there is none of its family."""
        if is_loopback(destination):
            return "::1" if ":" in destination else "127.0.0.1"
        for address in self._addresses:
            if (":" in address) == (":" in destination):
                return address
        raise os_error(errno.ENETUNREACH, f"{self.name} has no address from which to reach {destination}")

    def crash(self) -> None:
        """Lose every socket without a word to anybody; the code here is told by `connection_lost`."""
        listeners = [listener for bound in self._ports.values() for listener in bound]
        connections = list(self.connections.values())
        self._ports.clear()
        self.connections.clear()
        for gone in (*listeners, *connections):
            gone.crash()

    # -- ports --------------------------------------------------------------------------------------------------

    def bind(self, protocol: str, host: str, port: int, listener: Callable[[Address], Listener]) -> Listener:
        """Give a port to the listener that the callback makes for its address; port 0 means any free one."""
        host = canonical(host)
        if host not in ("0.0.0.0", "::") and not self.owns(host):
            raise os_error(errno.EADDRNOTAVAIL, f"{host} is no address of {self.name}")
        if port == 0:
            port = self.free_port(protocol, host)
        elif self._conflict(protocol, host, port):
            raise os_error(errno.EADDRINUSE, f"{protocol} {host} port {port} of {self.name}")
        made = listener((host, port))
        self._ports.setdefault((protocol, port), []).append(made)
        return made

    def release(self, protocol: str, listener: Listener) -> None:
        """Take the port back; one that was taken back already is no error."""
        bound = self._ports.get((protocol, listener.local[1]))
        if bound is not None and listener in bound:
            bound.remove(listener)

    def free_port(self, protocol: str, host: str) -> int:
        """An ephemeral port that nobody uses."""
        for _ in range(65536 - _FIRST_EPHEMERAL):
            port = self._ephemeral
            self._ephemeral = port + 1 if port < 65535 else _FIRST_EPHEMERAL
            in_use = protocol == TCP and any(local[1] == port for local, _ in self.connections)
            if not in_use and not self._conflict(protocol, host, port):
                return port
        raise os_error(errno.EADDRINUSE, f"{self.name} has no free {protocol} port")

    def _conflict(self, protocol: str, host: str, port: int) -> bool:
        wildcard = wildcard_of(host)
        return any(
            listener.local[0] == host
            or (wildcard in (host, listener.local[0]) and wildcard_of(listener.local[0]) == wildcard)
            for listener in self._ports.get((protocol, port), ())
        )

    def listener(self, protocol: str, address: Address) -> Listener | None:
        """Who gets what comes for *address*: the one bound to it, else to the wildcard address."""
        host, port = address
        wildcard = None
        for listener in self._ports.get((protocol, port), ()):
            if listener.local[0] == host:
                return listener
            if listener.local[0] == wildcard_of(host):
                wildcard = listener
        return wildcard

    # -- packets ------------------------------------------------------------------------------------------------

    def send(self, packet: Packet) -> None:
        """Put a packet of this host on the wire."""
        if is_loopback(packet.destination[0]) or packet.destination[0] in self._addresses:
            # Its own interface: nothing is lost there, but nothing arrives before the sender has returned either.
            self.network.call_at(self.network.time(), self.receive, packet, self.subnet)
        elif not self.up:
            packet.lost(f"{self.name} is down")
        else:
            self.network.carry(packet, self, self.subnet)

    def receive(self, packet: Packet, subnet: Subnet) -> None:
        """A packet arrives."""
        if not self.up:
            packet.lost(f"{self.name} is down")
            return
        if packet.passage is not None:
            packet.passage.to_host = self.name
        receiver: Listener | Connection | None = None
        if packet.protocol == TCP:
            receiver = self.connections.get((packet.destination, packet.source))
        if receiver is None:
            receiver = self.listener(packet.protocol, packet.destination)
        if receiver is not None:
            receiver.deliver(packet)
        elif packet.protocol == TCP:
            self.network.reset(packet, self)
        elif self.refuses:
            packet.note("refused")
            self.network.port_unreachable(packet)
        else:
            packet.lost("nobody listens")
