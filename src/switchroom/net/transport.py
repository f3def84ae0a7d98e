"""The transport layer of one element (RFC 3261 §18): its listeners, its connections, and the flows over them."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, Protocol

from ..sip.errors import LocalProtocolError, TransportError
from ..sip.flow import TCP, TLS, UDP, WS, WSS, Flow
from ..sip.identifiers import Identifiers
from ..sip.timers import NEVER, Timed, TimerQueue
from .accepting import BACKLOG, StreamListener
from .address import ListenAddress, SourceAddresses, host_port, split_host_port
from .complaints import Complaints
from .errors import transport_error
from .limits import Places, TransportLimits
from .loop import has_sockets
from .stream import StreamConnection
from .tap import IN, OUT, Tap, TapRecord
from .tls import TlsSource, check_identity, is_identity, peer_identities
from .udp import DatagramSocket, open_datagram_socket
from .websocket import WebSocketConnection

_SECURE: Final = frozenset((TLS, WSS))
_WEBSOCKET: Final = frozenset((WS, WSS))


class TransportUser(Protocol):
    """Who gets what the transports read, and hears what becomes of flows."""

    def received(self, data: bytes, flow: Flow) -> None:
        """A datagram, a WebSocket message, or a piece of a stream."""
        ...

    def flush(self) -> None:
        """That was all for now: answer."""
        ...

    def flow_failed(self, flow: Flow, error: TransportError) -> None:
        """The flow is dead, or what was sent on it cannot be carried."""
        ...

    def flow_closed(self, flow: Flow) -> None:
        """The connection was closed in good order."""
        ...

    def connection_ended(self, flow: Flow, error: TransportError | None) -> None:
        """The connection of the flow is gone; after `flow_failed` or `flow_closed`, and once only."""
        ...

    def flow_opened(self, wanted: Flow, flow: Flow) -> None:
        """What was sent on *wanted* (connection 0) has been sent on *flow*."""
        ...

    def flow_pinged(self, flow: Flow) -> None:
        """A CRLF ping was sent on the flow."""
        ...

    def unfinished(self, flow: Flow) -> int:
        """How many octets of a message have come on this stream."""
        ...

    def timer_moved(self) -> None:
        """`next_timer` may be earlier than it was."""
        ...


class Transports:
    """All transports of one element.  Nothing that comes from the network raises."""

    def __init__(
        self,
        user: TransportUser,
        *,
        limits: TransportLimits,
        identifiers: Identifiers,
        tls: TlsSource,
        tap: Tap,
        wall: Callable[[], float],
        counters: dict[str, int],
        largest_message: int,
        advertise: str | Mapping[str, str] | None = None,
        reuse_port: bool = False,
        websocket_path: str = "/",
        websocket_origins: Collection[str] = (),
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.limits = limits
        self.counters = counters
        self.tls = tls
        self._user = user
        self._identifiers = identifiers
        self._tap = tap
        self._wall = wall
        self._largest_message = largest_message
        self._advertise = _advertised(advertise)
        self._reuse_port = reuse_port
        self._websocket_path = websocket_path
        self._websocket_origins = frozenset(origin.lower() for origin in websocket_origins)
        self._complaints = Complaints(self.loop.time, limits.remembered)
        self._sources = SourceAddresses(self.loop, limits.remembered)
        self._timers = TimerQueue()
        self._sockets: list[DatagramSocket] = []
        self._listen_texts: dict[ListenAddress, str] = {}
        self._socket_of: dict[tuple[str, int], DatagramSocket] = {}
        self._flows: dict[DatagramSocket, dict[tuple[str, int], Flow]] = {}
        self._servers: list[tuple[ListenAddress, asyncio.AbstractServer | StreamListener]] = []
        self._last_number = 0
        self._all: set[StreamConnection] = set()
        self._connections: dict[int, StreamConnection] = {}
        self._by_remote: dict[tuple[str, tuple[str, int]], dict[int, StreamConnection]] = {}
        self._aliases: dict[tuple[str, tuple[str, int]], StreamConnection] = {}
        self._places = {accepted: Places(limits) for accepted in (True, False)}
        self._reconnecting: dict[str, int] = {}
        self._opening: dict[tuple[str, tuple[str, int], str], asyncio.Task[Flow]] = {}
        self._waiting: dict[Flow, list[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._answer_pings: dict[tuple[str, int], None] = {}
        self._closing = False
        self._gone: asyncio.Event = asyncio.Event()

    # -- listening ----------------------------------------------------------------------------------------------------

    async def listen(self, address: ListenAddress) -> ListenAddress:
        """Open a listener; returns where it listens (the port, if 0 was asked for).  Raises TransportError."""
        text = str(address)
        if address.transport == UDP:
            made = await open_datagram_socket(
                address, self, queue=self.limits.datagram_queue, reuse_port=self._reuse_port
            )
            self._sockets.append(made)
            self._flows[made] = {}
            self._socket_of[made.address.host, made.address.port] = made
            self._listen_texts[made.address] = text
            return made.address
        secure = address.transport in _SECURE
        if secure and self.tls.server is None:
            raise TransportError(
                f"cannot listen on {address}: it needs a certificate; give the endpoint "
                "tls=TlsSettings(certificate=Certificate(...))"
            )
        server: asyncio.AbstractServer | StreamListener
        try:
            if has_sockets(self.loop):
                server = StreamListener(
                    self.loop, address, self._accept, self._accept_failed, reuse_port=self._reuse_port
                )
            else:
                options: dict[str, Any] = {}
                if secure:
                    options = {"ssl": self.tls.server, "ssl_handshake_timeout": self.limits.handshake_timeout}
                server = await self.loop.create_server(
                    lambda: self._make(address.transport, accepted=True),
                    address.host,
                    address.port,
                    backlog=BACKLOG,
                    **options,
                )
        except OSError as error:
            raise transport_error(error, f"cannot listen on {address}") from error
        listening: Any = server  # the abstract class lacks what every server has
        host, port = listening.sockets[0].getsockname()[:2]
        bound = ListenAddress(address.transport, host, port)
        self._servers.append((bound, server))
        self._listen_texts[bound] = text
        return bound

    @property
    def listeners(self) -> tuple[ListenAddress, ...]:
        """Where this element listens, in the order in which that was asked for."""
        return tuple(self._listen_texts)

    @property
    def connections(self) -> int:
        """How many connections there are, those in a handshake included."""
        return len(self._all)

    @property
    def supported(self) -> tuple[str, ...]:
        """The transports for requests, the preferred one first; WS and WSS only by their name in a URI."""
        return (UDP, TCP, TLS) if self._sockets else (TCP, TLS)

    @property
    def families(self) -> tuple[str, ...]:
        """The record types of addresses that can be sent to: where we listen, or both if nothing listens."""
        found = {"AAAA" if ":" in address.host else "A" for address in self._listen_texts}
        return tuple(each for each in ("AAAA", "A") if each in found) or ("AAAA", "A")

    async def close(self) -> None:
        """Close everything: what is queued for a peer has `write_timeout` to leave, at most one second."""
        self.stop_accepting()
        for task in [*self._opening.values(), *self._tasks]:
            task.cancel()
        await asyncio.gather(*self._opening.values(), *self._tasks, return_exceptions=True)
        for connection in list(self._all):
            connection.close()
        if self._all:
            try:
                async with asyncio.timeout(1.0):
                    while self._all:
                        self._gone.clear()
                        await self._gone.wait()
            except TimeoutError:
                for connection in list(self._all):
                    connection.abort()
        for made in self._sockets:
            made.close()
        for _, server in self._servers:
            try:
                async with asyncio.timeout(1.0):
                    await server.wait_closed()
            except TimeoutError:
                self.count("listeners_left_open")
        self._sockets.clear()
        self._socket_of.clear()
        self._servers.clear()

    def stop_accepting(self) -> None:
        """Take no more connections; datagrams still come, since answers do."""
        self._closing = True
        for _, server in self._servers:
            server.close()

    # -- sending ------------------------------------------------------------------------------------------------------

    def send(self, flow: Flow, data: bytes) -> None:
        """Put a message on the wire; if that fails the user hears of it by `flow_failed`."""
        if flow.transport == UDP:
            made = self._socket_of.get(flow.local) or self._datagram_socket(flow.remote[0])
            if made is None:
                self._user.flow_failed(flow, TransportError("there is no UDP socket of that address family"))
                return
            if self._tap.listeners:
                self._record(flow, OUT, data)
            try:
                made.send(data, flow.remote)
            except OSError as error:
                self.count("send_errors")
                self._user.flow_failed(flow, transport_error(error, f"cannot send to UDP {host_port(*flow.remote)}"))
            return
        if flow.connection:
            connection = self._connections.get(flow.connection)
        else:
            connection = self._find(flow.transport, flow.remote, flow.peer_names)
            if connection is None:
                self._send_later(flow, data)
                return
        if connection is None or connection.flow is None:
            self._user.flow_failed(flow, TransportError(f"the connection with {host_port(*flow.remote)} is gone"))
            return
        if self._tap.listeners:
            self._record(connection.flow, OUT, data)
        if not connection.send(data):
            self._user.flow_failed(flow, TransportError(f"the connection with {host_port(*flow.remote)} is closing"))
        elif not flow.connection:
            self._user.flow_opened(flow, connection.flow)

    def flow_at_once(self, transport: str, remote: tuple[str, int], name: str = "") -> Flow | None:
        """The flow to a hop, if nothing has to be opened for it.  Raises TransportError when there is no way."""
        if transport == UDP:
            made = self._datagram_socket(remote[0])
            if made is None:
                raise TransportError(
                    f"cannot reach {host_port(*remote)} by UDP: no UDP listener of that address family is open"
                )
            return self._datagram_flow(made, remote)
        connection = self._find(transport, remote, (name,) if name else ())
        return None if connection is None else connection.flow

    def is_open(self, flow: Flow) -> bool:
        """Whether messages may be sent on *flow* as it is."""
        if flow.transport == UDP:
            return True
        connection = self._connections.get(flow.connection)
        return connection is not None and connection.usable

    async def open_flow(self, transport: str, remote: tuple[str, int], name: str = "") -> Flow:
        """The flow to a hop, over a new connection if there is none.  Raises TransportError."""
        found = self.flow_at_once(transport, remote, name)
        if found is not None:
            return found
        if self._closing:
            raise TransportError("the endpoint is closing")
        key = (transport, remote, name if transport in _SECURE else "")
        task = self._opening.get(key)
        if task is None:
            task = self.loop.create_task(
                self._connect(transport, remote, name), name=f"connect {transport} {host_port(*remote)}"
            )
            self._opening[key] = task
            task.add_done_callback(lambda done: self._opened_task(key, done))
        return await asyncio.shield(task)

    def _opened_task(self, key: tuple[str, tuple[str, int], str], task: asyncio.Task[Flow]) -> None:
        self._opening.pop(key, None)
        if not task.cancelled():
            task.exception()  # those who wait have it; nobody waiting any more is no mistake

    async def _connect(self, transport: str, remote: tuple[str, int], name: str) -> Flow:
        action = f"cannot connect to {transport} {host_port(*remote)}"
        options: dict[str, Any] = {}
        if transport in _SECURE:
            options = {"ssl": self.tls.client, "server_hostname": name or remote[0]}
        local = self._local_address(remote[0])
        if local is not None:
            options["local_addr"] = (local, 0)
        refused = self._places[False].take(remote[0])
        if refused:
            self.count(f"refused_{refused}")
            raise TransportError(f"{action}: too many are open (limit {refused})")
        connection = self._make(transport, accepted=False, name=name or remote[0])
        connection.remote = remote
        connection.counted = remote[0]
        connection.opening = self.loop.create_future()
        self._all.add(connection)
        try:
            async with asyncio.timeout(self.limits.connect_timeout):
                await self.loop.create_connection(lambda: connection, remote[0], remote[1], **options)
                await connection.opening
        except (OSError, TransportError, ValueError) as error:  # ValueError: a name that cannot be a server name
            failure = transport_error(error, action)
            connection.abort(failure)
            raise failure from error
        except asyncio.CancelledError:
            connection.abort(TransportError(f"{action}: given up"))
            raise
        if connection.flow is None:
            raise TransportError(f"{action}: the peer closed the connection")
        return connection.flow

    def _send_later(self, flow: Flow, data: bytes) -> None:
        waiting = self._waiting.get(flow)
        if waiting is not None:
            if len(waiting) < self.limits.waiting_messages:
                waiting.append(data)
            else:
                self.count("waiting_dropped")
            return
        host = flow.remote[0]
        there = self._reconnecting.get(host, 0)
        if there >= self.limits.reconnecting:
            self.count("reconnections_refused")
            self._user.flow_failed(flow, TransportError(f"too many connections to {host} are being opened"))
            return
        self._reconnecting[host] = there + 1
        self._waiting[flow] = [data]
        self._spawn(self._open_and_send(flow), f"reconnect {flow.transport} {host_port(*flow.remote)}")

    async def _open_and_send(self, wanted: Flow) -> None:
        try:
            name = wanted.peer_names[0] if wanted.peer_names else ""
            flow = await self.open_flow(wanted.transport, wanted.remote, name)
        except TransportError as error:
            del self._waiting[wanted]
            self._user.flow_failed(wanted, error)
        except asyncio.CancelledError:
            del self._waiting[wanted]
            raise
        else:
            waiting = self._waiting.pop(wanted)
            self._user.flow_opened(wanted, flow)
            for data in waiting:
                self.send(flow, data)
        finally:
            host = wanted.remote[0]
            self._reconnecting[host] -= 1
            if not self._reconnecting[host]:
                del self._reconnecting[host]
        self._user.flush()

    # -- which socket, which connection -------------------------------------------------------------------------------

    def _datagram_socket(self, host: str) -> DatagramSocket | None:
        six = ":" in host
        candidates = [each for each in self._sockets if (":" in each.address.host) == six]
        if len(candidates) < 2:
            return candidates[0] if candidates else None
        try:
            source = self._sources.towards(host, "::" if six else "0.0.0.0")
        except TransportError:
            return candidates[0]
        for each in candidates:
            if each.address.host == source:
                return each
        return next((each for each in candidates if each.address.wildcard), candidates[0])

    def _datagram_flow(self, made: DatagramSocket, remote: tuple[str, int]) -> Flow:
        flows = self._flows[made]
        flow = flows.get(remote)
        if flow is None:
            address = made.address
            local = self._sources.towards(remote[0], address.host)
            flow = Flow(UDP, remote, (local, address.port), self._sent_by(address, local, address.port))
            if len(flows) >= self.limits.remembered:
                flows.clear()
            flows[remote] = flow
            self._socket_of.setdefault(flow.local, made)
        return flow

    def _find(self, transport: str, remote: tuple[str, int], names: tuple[str, ...]) -> StreamConnection | None:
        """A connection to reuse (RFC 5923): to that very address and, if secure, with that very identity."""
        for connection in self._by_remote.get((transport, remote), {}).values():
            if connection.usable and (transport not in _SECURE or self._has_identity(connection, names)):
                return connection
        alias = self._aliases.get((transport, remote))
        if alias is not None and alias.usable and any(is_identity(name, alias.peer_names) for name in names):
            return alias
        return None

    def _has_identity(self, connection: StreamConnection, names: tuple[str, ...]) -> bool:
        if connection.accepted and names in ((), (connection.remote[0],)):
            return True  # the client's own connection is what was asked for, not a domain
        if not connection.accepted and (not names or connection.name in names):
            return True
        return any(is_identity(name, connection.peer_names) for name in names)

    def add_alias(self, flow: Flow, port: int | None) -> None:
        """The peer allows us to send requests to its listener over its connection (RFC 5923 §5).

        Only for a client whose certificate was verified: anybody else could take a stranger's requests that way.
        """
        connection = self._connections.get(flow.connection)
        if connection is None or not connection.accepted or not connection.peer_names:
            return
        key = (flow.transport, (flow.remote[0], port or 5061))
        self._forget_alias(connection)  # one of each, so that nobody fills the table
        self._aliases[key] = connection
        connection.alias = key

    def _forget_alias(self, connection: StreamConnection) -> None:
        if connection.alias is not None and self._aliases.get(connection.alias) is connection:
            del self._aliases[connection.alias]

    def _local_address(self, host: str) -> str | None:
        """The address to connect from: the one that we listen on, so that a peer sees one address of ours."""
        six = ":" in host
        for address in self._listen_texts:
            if (":" in address.host) != six or address.wildcard:
                continue
            if has_sockets(self.loop) and _is_loopback(address.host) != _is_loopback(host):
                continue  # the system would not carry it
            return address.host
        return None

    def _sent_by(self, listener: ListenAddress, local: str, port: int) -> str:
        advertised = self._advertise.get(self._listen_texts.get(listener, "")) or self._advertise.get("")
        if advertised is None:
            return host_port(local, port)
        return host_port(advertised[0], advertised[1] or port)

    def _stream_sent_by(self, transport: str, local: tuple[str, int]) -> str:
        """Where a peer may connect to us: our listener of that transport; without any this very connection."""
        six = ":" in local[0]
        best: ListenAddress | None = None
        for address in self._listen_texts:
            if (
                address.transport == transport
                and (":" in address.host) == six
                and (best is None or best.host != local[0])
            ):
                best = address
        if best is None:
            return self._sent_by(ListenAddress(transport, *local), *local)
        return self._sent_by(best, local[0] if best.wildcard else best.host, best.port)

    # -- what connections tell (StreamOwner) --------------------------------------------------------------------------

    def _make(self, transport: str, *, accepted: bool, name: str = "") -> StreamConnection:
        if transport in _WEBSOCKET:
            return WebSocketConnection(
                self,
                transport,
                accepted=accepted,
                name=name,
                largest=self._largest_message,
                path=self._websocket_path,
                origins=self._websocket_origins,
            )
        return StreamConnection(self, transport, accepted=accepted, name=name)

    def admit(self, connection: StreamConnection) -> bool:
        """See `StreamOwner`."""
        if self._closing:
            return False
        refused = self._places[True].take(connection.remote[0])
        if not refused:
            connection.counted = connection.remote[0]
            self._all.add(connection)
            self.count("connections_accepted")
            return True
        self.count(f"refused_{refused}")
        self.complain(connection.remote, f"connection from {host_port(*connection.remote)} refused: limit {refused}")
        return False

    def _accept(self, transport: str, accepted: socket.socket, remote: tuple[str, int]) -> None:
        """A client connected to a listener: agree on TLS if that is what it is for, then it is a connection."""
        connection = self._make(transport, accepted=True)
        connection.remote = remote
        if self.admit(connection):
            work = self._handshake(connection, accepted)
            task = self._spawn(work, f"{transport} client {host_port(*remote)}")
            task.add_done_callback(lambda _: None if connection.flow is not None else self._drop(connection, accepted))
            connection.handshake = task
        else:
            accepted.close()

    def _accept_failed(self, error: OSError) -> None:
        """No client can be accepted for now."""
        self.count("accept_failures")
        self.complain(("listeners", 0), str(transport_error(error, "cannot accept a connection")))

    def _drop(self, connection: StreamConnection, accepted: socket.socket) -> None:
        """The handshake's task is over, be it before its first step; only WebSocket has more to do now."""
        if not connection.made:
            accepted.close()
            connection.abort(TransportError("the TLS handshake did not succeed"))

    async def _handshake(self, connection: StreamConnection, accepted: socket.socket) -> None:
        remote = connection.remote
        options: dict[str, Any] = {}
        if connection.transport_name in _SECURE:
            # uvloop waits that long itself when the peer does not end an aborted handshake
            options = {"ssl": self.tls.server, "ssl_handshake_timeout": self.limits.handshake_timeout + 1.0}
        try:
            async with asyncio.timeout(self.limits.handshake_timeout):
                await self.loop.connect_accepted_socket(lambda: connection, accepted, **options)
        except (OSError, asyncio.CancelledError) as error:
            connection.handshake = None  # this task: not to be cancelled by `abort`
            if not connection.made:
                accepted.close()
            if isinstance(error, asyncio.CancelledError):
                connection.abort(TransportError("the endpoint is closing"))
                raise
            late = isinstance(error, TimeoutError)
            self.count("handshake_timeouts" if late else "handshake_failures")
            failure = transport_error(error, f"TLS handshake from {host_port(*remote)}")
            self.complain(remote, str(failure))
            connection.abort(failure)

    def identify(self, connection: StreamConnection) -> TransportError | None:
        """See `StreamOwner`."""
        if connection.transport_name not in _SECURE:
            return None
        connection.peer_names = peer_identities(connection.extra("peercert"))
        if not connection.accepted and self.tls.client.verify_mode != ssl.CERT_NONE:
            try:
                check_identity(connection.name, connection.peer_names)
            except TransportError as error:
                self.count("identity_failures")
                return error
        return None

    def opened(self, connection: StreamConnection) -> None:
        """See `StreamOwner`."""
        self._last_number += 1
        number = self._last_number
        transport = connection.transport_name
        sockname = connection.extra("sockname") or ("0.0.0.0", 0)
        local = (sockname[0], sockname[1])
        connection.flow = Flow(
            transport, connection.remote, local, self._stream_sent_by(transport, local), number, connection.peer_names
        )
        self._connections[number] = connection
        self._by_remote.setdefault((transport, connection.remote), {})[number] = connection
        if not connection.accepted:
            self.count("connections_opened")
            connection.strict_pong = connection.strict_pong or connection.remote in self._answer_pings
            connection.retry_at = self.next_ping(connection, self.loop.time())

    def next_ping(self, connection: StreamConnection, now: float) -> float:
        """See `StreamOwner`: within 80 to 100 % of the interval (RFC 5626 §4.4.1)."""
        if connection.awaits_pong and connection.flow is not None and connection.transport_name not in _WEBSOCKET:
            self._user.flow_pinged(connection.flow)
        interval = self.limits.keepalive_interval
        if connection.accepted or interval <= 0:
            return NEVER
        return now + interval * (0.8 + 0.2 * self._identifiers.random())

    def pong_received(self, flow: Flow) -> None:
        """A peer that has answered a ping once is held to it from now on, on later connections too."""
        connection = self._connections.get(flow.connection)
        if connection is None or connection.accepted:
            return
        connection.strict_pong = True
        if len(self._answer_pings) >= self.limits.remembered:
            del self._answer_pings[next(iter(self._answer_pings))]
        self._answer_pings[connection.remote] = None

    def keep_alive(self, flow: Flow) -> None:
        """Hold the peer of *flow* to answering pings: that was agreed with it (RFC 5626 §4.4, RFC 6223)."""
        connection = self._connections.get(flow.connection)
        if connection is None:
            raise LocalProtocolError("there is no such connection (any more)")
        connection.strict_pong = True

    def received(self, connection: StreamConnection, data: bytes) -> None:
        """See `StreamOwner`."""
        flow = connection.flow
        if flow is None:
            return
        if self._tap.listeners:
            self._record(flow, IN, data)
        user = self._user
        user.received(data, flow)
        if flow.transport not in _WEBSOCKET:
            unfinished = user.unfinished(flow)
            connection.message_pending(unfinished > 0, began=unfinished <= len(data))
        user.flush()

    def lost(self, connection: StreamConnection, error: TransportError | None) -> None:
        """See `StreamOwner`."""
        self._timers.discard(connection)
        self._all.discard(connection)
        self._gone.set()
        if connection.counted:
            self._places[connection.accepted].give_back(connection.counted)
            connection.counted = ""
        flow = connection.flow
        if flow is None:
            return
        self._connections.pop(flow.connection, None)
        key = (flow.transport, flow.remote)
        there = self._by_remote.get(key)
        if there is not None:
            there.pop(flow.connection, None)
            if not there:
                del self._by_remote[key]
        self._forget_alias(connection)
        if error is None:
            self._user.flow_closed(flow)
        else:
            self.count("connections_failed")
            self._user.flow_failed(flow, error)
        self._user.connection_ended(flow, error)
        self._user.flush()

    def close_flow(self, flow: Flow) -> None:
        """Close the connection of a flow once what is queued has left; no effect when it is gone."""
        connection = self._connections.get(flow.connection)
        if connection is not None:
            connection.close()

    # -- what datagram sockets tell (DatagramReceiver) ----------------------------------------------------------------

    def datagram_received(self, source: DatagramSocket, data: bytes, remote: tuple[str, int]) -> None:
        """See `DatagramReceiver`."""
        flow = self._flows[source].get(remote)
        if flow is None:
            try:
                flow = self._datagram_flow(source, remote)
            except TransportError:  # no way back: a forged source
                self.count("unroutable_datagrams")
                return
        if self._tap.listeners:
            self._record(flow, IN, data)
        self._user.received(data, flow)

    def datagrams_read(self) -> None:
        """See `DatagramReceiver`."""
        self._user.flush()

    def datagram_failed(self, source: DatagramSocket, remote: tuple[str, int] | None, error: OSError) -> None:
        """See `DatagramReceiver`."""
        self.count("icmp_errors")
        if remote is None:
            return
        flow = self._flows.get(source, {}).get(remote)
        if flow is not None:
            self._user.flow_failed(flow, transport_error(error, f"cannot send to UDP {host_port(*remote)}"))
            self._user.flush()

    # -- time, counters, tap ------------------------------------------------------------------------------------------

    def schedule(self, item: Timed) -> None:
        """See `StreamOwner`."""
        self._timers.touch(item)
        self._user.timer_moved()

    def next_timer(self) -> float:
        """When to call `handle_timers` at the latest."""
        return self._timers.next_at()

    def handle_timers(self, now: float) -> None:
        """Feed time."""
        timers = self._timers
        while True:
            item = timers.pop_due(now)
            if item is None:
                return
            assert isinstance(item, StreamConnection)
            item.handle_deadline(now)

    def count(self, name: str) -> None:
        """Count an event of this name."""
        self.counters[name] = self.counters.get(name, 0) + 1

    def complain(self, remote: tuple[str, int], text: str) -> bool:
        """See `StreamOwner`; returns whether it was written."""
        return self._complaints.complain(remote[0], text)

    def log_mistake(self, whose: str, text: str) -> None:
        """In an `except` block: log the exception, unless there was one of *whose* within the second."""
        self._complaints.complain(whose, text, mistake=True)

    def _record(self, flow: Flow, direction: Any, data: bytes) -> None:
        self._tap.record(TapRecord(self._wall(), flow, direction, data))

    def _spawn(self, work: Any, name: str) -> asyncio.Task[None]:
        task = self.loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _advertised(given: str | Mapping[str, str] | None) -> dict[str, tuple[str, int | None]]:
    """What to show instead of the own address, by the listener's text as it was asked for; "" means any."""
    if given is None:
        return {}
    items: Iterable[tuple[str, str]] = [("", given)] if isinstance(given, str) else given.items()
    found: dict[str, tuple[str, int | None]] = {}
    for listener, text in items:
        host, port = split_host_port(text)
        if not host or (port is not None and not 0 < port <= 65535):
            raise LocalProtocolError(f"cannot advertise {text!r}: write host or host:port (IPv6 in brackets)")
        found[listener.lower()] = (host, port)
    return found


def _is_loopback(host: str) -> bool:
    return host.startswith("127.") or host == "::1"
