"""A network in memory: what is in it, and what happens to packets on their way."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from .dns import Zones
from .errors import LabError, RealWorldError
from .host import (
    TCP,
    Host,
    Node,
    Packet,
    Subnet,
    address_of,
    canonical,
    is_loopback,
    os_error,
    running_on,
    wildcard_of,
)
from .link import INTERNET, LAN, Line, Link
from .record import Address, Passage, Trace

if TYPE_CHECKING:
    from .loop import VirtualTimeLoop
    from .nat import NatBehaviour, NatBox

_MAX_HOPS: Final = 16


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

        outside = tuple(map(canonical, addresses))
        where = self.internet if subnet is None else subnet
        return NatBox(self, name, outside, where, FULL_CONE if behaviour is None else behaviour)

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
                self._tell(packet, os_error(errno.EMSGSIZE))
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
        self.call_at(self.time() + delay, self._tell, packet, os_error(errno.ECONNREFUSED))

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
        host = running_on(self)
        if host is not None:
            return host
        if len(self.hosts) == 1:
            return next(iter(self.hosts.values()))
        raise LabError(
            "on which host does this code run? Bind to one of its addresses, or run it inside `with network.host(...)`"
        )

    def host_of(self, address: str) -> Host:
        """The host that code binding to *address* means: the current one, else the one that has it."""
        address = canonical(address)
        if address in ("0.0.0.0", "::"):
            return self.current_host()
        current = running_on(self)
        if current is not None and current.owns(address):
            return current
        if is_loopback(address):
            return self.hosts.get("localhost") or self.host("localhost")
        owners = [host for host in self.hosts.values() if host.owns(address)]
        if len(owners) == 1:
            return owners[0]
        if not owners:
            raise os_error(errno.EADDRNOTAVAIL, f"no host has the address {address}")
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
                local = (wildcard_of(remote[0]), 0)
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
        from .server import connect

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
        from .server import Server

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
        name = None if flags & socket.NI_NUMERICHOST else self.dns.name_of(canonical(sockaddr[0]))
        return name or sockaddr[0], str(sockaddr[1])

    async def _resolve(self, address: tuple[Any, ...], family: int, kind: int) -> Address:
        *_, found = (await self.getaddrinfo(address[0], address[1], family=family, type=kind))[0]
        return address_of(found[0], found[1])


def _refuse_socket(sock: object) -> None:
    if sock is not None:
        raise RealWorldError("real sockets do not exist in the lab; give addresses instead of sock=")
