"""A network in memory: hosts, subnets, and what happens to packets between them."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
import socket
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Protocol

from .dns import Zones
from .errors import LabError, RealWorldError
from .link import INTERNET, LAN, Line, Link
from .record import DELIVERED, LOST, Address, Passage, Trace

if TYPE_CHECKING:
    from .loop import VirtualTimeLoop
    from .nat import NatBehaviour, NatBox

UDP: Final = "UDP"
TCP: Final = "TCP"

_FIRST_EPHEMERAL: Final = 49152
_MAX_HOPS: Final = 16
_current_host: contextvars.ContextVar[Host] = contextvars.ContextVar("switchroom lab host")


@lru_cache(maxsize=4096)
def _canonical(host: str) -> str:
    return str(ip_address(host.partition("%")[0]))


def address_of(host: str, port: int) -> Address:
    """The canonical (host, port); raises ValueError when *host* is no IP address."""
    return _canonical(host), port


def socket_address(address: Address) -> tuple[Any, ...]:
    """As the `socket` module writes it: four fields for IPv6."""
    return (*address, 0, 0) if ":" in address[0] else address


def is_loopback(host: str) -> bool:
    return host.startswith("127.") or host == "::1"


def _wildcard(host: str) -> str:
    return "::" if ":" in host else "0.0.0.0"


def _os_error(number: int, detail: str = "") -> OSError:
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
        address = _canonical(address)
        if address in self._nodes:
            raise LabError(f"{address} belongs to {self._nodes[address].name} already")
        self._nodes[address] = node

    def remove(self, address: str) -> None:
        """Take *address* back."""
        del self._nodes[_canonical(address)]

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
        self._tokens: list[contextvars.Token[Host]] = []
        self.set_addresses(*addresses)

    def __repr__(self) -> str:
        return f"<Host {self.name} {' '.join(self._addresses)}>"

    def __enter__(self) -> Host:
        self._tokens.append(_current_host.set(self))
        return self

    def __exit__(self, *exc_info: object) -> None:
        _current_host.reset(self._tokens.pop())

    def context(self) -> contextvars.Context:
        """A copy of the current context in which this host is the one that code runs on."""
        context = contextvars.copy_context()
        context.run(_current_host.set, self)
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
        for address in map(_canonical, addresses):
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
        raise _os_error(errno.ENETUNREACH, f"{self.name} has no address from which to reach {destination}")

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
        host = _canonical(host)
        if host not in ("0.0.0.0", "::") and not self.owns(host):
            raise _os_error(errno.EADDRNOTAVAIL, f"{host} is no address of {self.name}")
        if port == 0:
            port = self.free_port(protocol, host)
        elif self._conflict(protocol, host, port):
            raise _os_error(errno.EADDRINUSE, f"{protocol} {host} port {port} of {self.name}")
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
        raise _os_error(errno.EADDRINUSE, f"{self.name} has no free {protocol} port")

    def _conflict(self, protocol: str, host: str, port: int) -> bool:
        wildcard = _wildcard(host)
        return any(
            listener.local[0] == host
            or (wildcard in (host, listener.local[0]) and _wildcard(listener.local[0]) == wildcard)
            for listener in self._ports.get((protocol, port), ())
        )

    def listener(self, protocol: str, address: Address) -> Listener | None:
        """Who gets what comes for *address*: the one bound to it, else to the wildcard address."""
        host, port = address
        wildcard = None
        for listener in self._ports.get((protocol, port), ()):
            if listener.local[0] == host:
                return listener
            if listener.local[0] == _wildcard(host):
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


class MemoryNetwork:
    """Hosts, NAT boxes, links and zones of one run; everything random in it comes from *seed*."""

    def __init__(self, seed: int | str = 0, *, link: Link = INTERNET, lan: Link = LAN) -> None:
        self.seed = seed
        self.link = link
        """How the internet behaves between two nodes for which `set_link` says nothing else."""
        self.lan = lan
        """The same behind NAT boxes."""
        self.trace = Trace()
        self.dns = Zones(self)
        self.icmp_to_all = False
        """Tell refused ports to unconnected datagram endpoints, too.  Real systems tell connected ones only."""
        self.segment_size = 1460
        """Largest piece in which a stream's bytes arrive; 1 makes every byte come alone."""
        self.window = 65536
        """Bytes that a stream carries before its reader has taken any."""
        self.stream_timeout = 924.0
        """Seconds after which a stream whose data are not acknowledged fails (15 retransmissions on Linux)."""
        self.connect_timeout = 127.0
        """Seconds after which a connection attempt without an answer fails (6 retransmissions on Linux)."""
        self.internet = Subnet("internet")
        self.hosts: dict[str, Host] = {}
        self._links: dict[tuple[str, str], Link] = {}
        self._lines: dict[tuple[str, str], Line] = {}
        self._cuts: list[tuple[frozenset[str], frozenset[str]]] = []
        self._losses: list[Callable[[Passage], bool]] = []
        self._loop: VirtualTimeLoop | None = None
        self._context = contextvars.Context()

    # -- building it --------------------------------------------------------------------------------------------

    def host(self, name: str, *addresses: str, subnet: Subnet | None = None) -> Host:
        """Make a host with these IPv4 and IPv6 addresses on the internet (or in *subnet*)."""
        if name in self.hosts:
            raise LabError(f"there is a host {name} already")
        host = Host(self, name, addresses, self.internet if subnet is None else subnet)
        self.hosts[name] = host
        return host

    def nat(
        self, name: str, *addresses: str, behaviour: NatBehaviour | None = None, subnet: Subnet | None = None
    ) -> NatBox:
        """Put a NAT box with these outside addresses on the internet; `box.host(...)` puts hosts behind it."""
        from .nat import FULL_CONE, NatBox

        canonical = tuple(map(_canonical, addresses))
        where = self.internet if subnet is None else subnet
        return NatBox(self, name, canonical, where, FULL_CONE if behaviour is None else behaviour)

    def set_link(self, source: str, destination: str, link: Link, *, both_ways: bool = True) -> None:
        """How packets fare from node *source* to node *destination*: names of hosts or NAT boxes, `"*"` for any."""
        self._links[source, destination] = link
        if both_ways:
            self._links[destination, source] = link

    def link_between(self, source: str, destination: str, subnet: Subnet | None = None) -> Link:
        """The link that counts from *source* to *destination*: the most specific one that was set."""
        for key in ((source, destination), (source, "*"), ("*", destination)):
            if key in self._links:
                return self._links[key]
        return self.link if subnet is None or subnet is self.internet else self.lan

    def partition(self, group: Iterable[str], others: Iterable[str] = ("*",), *, both_ways: bool = True) -> None:
        """Drop everything that the nodes of *group* send to the *others*, and what these send back.

        `"*"` stands for every node that is not in the other group.
        """
        one, two = frozenset(group), frozenset(others)
        self._cuts.append((one, two))
        if both_ways:
            self._cuts.append((two, one))

    def heal(self) -> None:
        """End every partition."""
        self._cuts.clear()

    def lose(self, chosen: Callable[[Passage], bool]) -> Callable[[], None]:
        """Lose each datagram for which *chosen* returns true, whatever the link does; returns what ends that.

        It is asked once about every datagram that leaves its host, at the moment of sending:

            network.lose(lambda passage: passage.data.startswith(b"ACK "))
        """
        self._losses.append(chosen)

        def stop() -> None:
            if chosen in self._losses:
                self._losses.remove(chosen)

        return stop

    def reset_streams(self, *hosts: str) -> None:
        """Break every connection of these hosts (of all, if none is named) with a reset at both ends."""
        for host in list(self.hosts.values()):
            if not hosts or host.name in hosts:
                for connection in list(host.connections.values()):
                    connection.abort()  # type: ignore[attr-defined]  # ends of streams

    # -- time ---------------------------------------------------------------------------------------------------

    def attach(self, loop: VirtualTimeLoop) -> None:
        """Called by the loop that is to drive this network."""
        self._loop = loop

    @property
    def loop(self) -> VirtualTimeLoop:
        """The loop that drives this network."""
        if self._loop is None:
            raise LabError("this network has no loop yet; make one with VirtualTimeLoop(network)")
        return self._loop

    def time(self) -> float:
        """Seconds since the start of the run."""
        return self.loop.time()

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Run a part of the network itself: in a context of its own, in which nobody is on any host."""
        return self.loop.call_at(when, callback, *args, context=self._context)

    # -- packets ------------------------------------------------------------------------------------------------

    def carry(self, packet: Packet, sender: Node, subnet: Subnet) -> None:
        """One hop: from *sender* to whoever has the destination in *subnet*, else to the way out of it."""
        receiver = subnet.node(packet.destination[0]) or subnet.gateway
        packet.hops += 1
        if receiver is None or receiver is sender or packet.hops > _MAX_HOPS:
            packet.lost("no route")
            return
        if not receiver.up:
            packet.lost(f"{receiver.name} is down")
            return
        if self._is_cut(packet.sender.name, sender.name, receiver.name):
            packet.lost("partition")
            return
        passage = packet.passage
        if passage is not None and sender is packet.sender and any([chosen(passage) for chosen in self._losses]):
            packet.lost("lost on purpose")
            return
        link = self.link_between(sender.name, receiver.name, subnet)
        reliable = packet.protocol == TCP
        if packet.size > link.mtu and not reliable and link.oversize != "fragment":
            packet.lost("over the MTU")
            if link.oversize == "error" and sender is packet.sender:
                self._tell(packet, _os_error(errno.EMSGSIZE))
            return
        line = self._lines.get((sender.name, receiver.name))
        if line is None:
            line = Line(f"{self.seed}/line/{sender.name}/{receiver.name}")
            self._lines[sender.name, receiver.name] = line
        delivery = line.decide(link, packet.size, self.time(), reliable)
        if not delivery.arrivals:
            packet.lost()
            return
        if delivery.late and passage is not None:
            passage.late = True
        for arrival in delivery.arrivals:
            self.call_at(arrival, receiver.receive, packet, subnet)

    def _is_cut(self, origin: str, sender: str, receiver: str) -> bool:
        for senders, receivers in self._cuts:
            from_group = origin in senders or sender in senders or ("*" in senders and origin not in receivers)
            if from_group and (receiver in receivers or ("*" in receivers and receiver not in senders)):
                return True
        return False

    def port_unreachable(self, packet: Packet) -> None:
        """ICMP: tell the sender that nobody listens there, after the time that the way back takes."""
        passage = packet.passage
        sent_at = self.time() if passage is None else passage.time
        delay = self.time() - sent_at
        self.call_at(self.time() + delay, self._tell, packet, _os_error(errno.ECONNREFUSED))

    def _tell(self, packet: Packet, error: OSError) -> None:
        source, destination = packet.origin
        listener = packet.sender.listener(packet.protocol, source)
        if listener is not None:
            listener.fail(destination, error)  # type: ignore[attr-defined]  # only datagrams have such errors

    def reset(self, packet: Packet, host: Host) -> None:
        """A segment of no known connection arrived: answer it with a reset, unless it needs no answer."""
        from .stream import reset

        reset(packet, host)

    # -- where code runs ----------------------------------------------------------------------------------------

    def current_host(self) -> Host:
        """The host whose code is running; `LabError` when nobody has said which."""
        host = _current_host.get(None)
        if host is not None and host.network is self:
            return host
        if len(self.hosts) == 1:
            return next(iter(self.hosts.values()))
        raise LabError(
            "on which host does this code run? Bind to one of its addresses, or run it inside `with network.host(...)`"
        )

    def host_of(self, address: str) -> Host:
        """The host that code binding to *address* means: the current one, else the one that has it."""
        address = _canonical(address)
        if address in ("0.0.0.0", "::"):
            return self.current_host()
        current = _current_host.get(None)
        if current is not None and current.network is self and current.owns(address):
            return current
        if is_loopback(address):
            return self.hosts.get("localhost") or self.host("localhost")
        owners = [host for host in self.hosts.values() if host.owns(address)]
        if len(owners) == 1:
            return owners[0]
        if not owners:
            raise _os_error(errno.EADDRNOTAVAIL, f"no host has the address {address}")
        names = ", ".join(host.name for host in owners)
        raise LabError(f"{names} all have the address {address}; run the code inside `with host:`")

    # -- what the loop asks for ---------------------------------------------------------------------------------

    async def create_datagram_endpoint(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        local_addr: Any = None,
        remote_addr: Any = None,
        *,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        reuse_port: bool | None = None,
        allow_broadcast: bool | None = None,
        sock: object = None,
    ) -> tuple[asyncio.DatagramTransport, asyncio.BaseProtocol]:
        """What `loop.create_datagram_endpoint` does, in memory; addresses may be names of the zones."""
        from .datagram import DatagramEndpoint

        _refuse_socket(sock)
        local = None if local_addr is None else await self._resolve(local_addr, family, socket.SOCK_DGRAM)
        remote = None if remote_addr is None else await self._resolve(remote_addr, family, socket.SOCK_DGRAM)
        if local is None:
            if remote is not None:
                local = (_wildcard(remote[0]), 0)
            elif family in (socket.AF_INET, socket.AF_INET6):
                local = ("::" if family == socket.AF_INET6 else "0.0.0.0", 0)
            else:
                raise ValueError("unexpected address family")  # as asyncio says it
        host = self.host_of(local[0])
        if remote is not None and local[0] in ("0.0.0.0", "::"):
            local = (host.source_for(remote[0]), local[1])  # what connect() does to an unbound socket
        made = DatagramEndpoint(host, local, remote, protocol_factory)
        await made.started
        return made, made.protocol

    async def create_connection(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: Any = None,
        port: Any = None,
        *,
        ssl: object = None,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        sock: object = None,
        local_addr: Any = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        happy_eyeballs_delay: float | None = None,
        interleave: int | None = None,
        all_errors: bool = False,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """What `loop.create_connection` does, in memory.  For *ssl* see `lab.tls`."""
        from .stream import connect

        _refuse_socket(sock)
        if host is None:
            raise ValueError("host and port was not specified and no sock specified")  # as asyncio says it
        found = await self.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        local = None if local_addr is None else await self._resolve(local_addr, family, socket.SOCK_STREAM)
        if ssl and server_hostname is None:
            server_hostname = str(host)
        errors: list[OSError] = []
        for *_, remote in found:
            try:
                return await connect(
                    self,
                    protocol_factory,
                    local,
                    address_of(remote[0], remote[1]),
                    ssl,
                    server_hostname or "",
                    ssl_handshake_timeout,
                )
            except OSError as error:
                errors.append(error)
        if len(errors) == 1:
            raise errors[0]
        raise OSError(f"Multiple exceptions: {', '.join(map(str, errors))}")

    async def create_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: Any = None,
        port: Any = None,
        *,
        family: int = 0,
        flags: int = 0,
        sock: object = None,
        backlog: int = 100,
        ssl: object = None,
        reuse_address: bool | None = None,
        reuse_port: bool | None = None,
        keep_alive: bool | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
    ) -> asyncio.AbstractServer:
        """What `loop.create_server` does, in memory.  For *ssl* see `lab.tls`."""
        from .stream import Server

        _refuse_socket(sock)
        names: list[Any]
        if host is None or host == "":
            names = ["0.0.0.0", "::"] if family == 0 else ["::" if family == socket.AF_INET6 else "0.0.0.0"]
        else:
            names = [host] if isinstance(host, str) else list(host)
        addresses: list[Address] = []
        for name in names:
            for *_, found in await self.getaddrinfo(name, port, family=family, type=socket.SOCK_STREAM):
                address = address_of(found[0], found[1])
                if address not in addresses:
                    addresses.append(address)
        server = Server(self, protocol_factory, addresses, ssl, ssl_handshake_timeout)
        if start_serving:
            await server.start_serving()
        return server

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[tuple[Any, ...]]:
        """What `loop.getaddrinfo` does, from the zones; raises `socket.gaierror` as the real one does."""
        return await self.dns.getaddrinfo(host, port, family, type, proto)

    async def getnameinfo(self, sockaddr: tuple[Any, ...], flags: int = 0) -> tuple[str, str]:
        """What `loop.getnameinfo` does: the name that the zones give to the address, else the address itself."""
        name = None if flags & socket.NI_NUMERICHOST else self.dns.name_of(_canonical(sockaddr[0]))
        return name or sockaddr[0], str(sockaddr[1])

    async def _resolve(self, address: tuple[Any, ...], family: int, kind: int) -> Address:
        *_, found = (await self.getaddrinfo(address[0], address[1], family=family, type=kind))[0]
        return address_of(found[0], found[1])


def _refuse_socket(sock: object) -> None:
    if sock is not None:
        raise RealWorldError("real sockets do not exist in the lab; give addresses instead of sock=")


def delivered(packet: Packet) -> None:
    """Record that *packet* reached the code that it was meant for."""
    packet.note(DELIVERED)
