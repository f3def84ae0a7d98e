"""SIP over WebSocket (RFC 7118): WS and WSS, both sides, over the sans-I/O protocol of `websockets`."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Final

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from ..sip.errors import TransportError
from .address import host_port, split_host_port
from .stream import OPEN, OPENING, StreamConnection, StreamOwner

SUBPROTOCOL: Final = Subprotocol("sip")
"""RFC 7118 §4: without agreement on it there is no SIP."""

_logger: Final = logging.getLogger(__name__)
_logger.setLevel(logging.WARNING)  # what it says of each connection and each frame is for those who ask for it here


class WebSocketConnection(StreamConnection):
    """A WebSocket: each of its messages is one SIP message, or one keep-alive."""

    __slots__ = ("_fragmented", "_fragments", "_origins", "_path", "_protocol", "_text")

    def __init__(
        self,
        owner: StreamOwner,
        transport_name: str,
        *,
        accepted: bool,
        name: str = "",
        largest: int,
        path: str = "/",
        origins: Collection[str] = (),
    ) -> None:
        """*path* is asked for when we connect; *origins* are those whose pages may connect to us, see `_foreign`."""
        super().__init__(owner, transport_name, accepted=accepted, name=name)
        self.strict_pong = True  # RFC 6455 §5.5.2: whoever speaks WebSocket answers a ping
        self._fragmented = False
        self._fragments = bytearray()
        self._origins = origins
        self._path = path
        self._text = False
        self._protocol: ServerProtocol | ClientProtocol
        if accepted:
            self._protocol = ServerProtocol(subprotocols=[SUBPROTOCOL], max_size=largest, logger=_logger)
        else:
            self._protocol = ClientProtocol(
                WebSocketURI(False, "", 0, path, ""), subprotocols=[SUBPROTOCOL], max_size=largest, logger=_logger
            )

    def _begin(self) -> None:
        protocol = self._protocol
        if isinstance(protocol, ClientProtocol):
            host, port = self.remote
            protocol.uri = WebSocketURI(self.transport_name == "WSS", self.name or host, port, self._path, "")
            protocol.send_request(protocol.connect())
            self._flush()

    def _received(self, data: bytes) -> None:
        protocol = self._protocol
        if self._state == OPENING and isinstance(protocol, ServerProtocol):
            data = self._answer_upgrade(protocol, data)
            if not data:
                return
        protocol.receive_data(data)
        events = protocol.events_received()
        for event in events:
            if isinstance(event, Frame):
                self._frame(event)
            elif isinstance(event, Response):
                self._client_response()
            if self._state > OPEN:
                return
        if self._state == OPENING and protocol.handshake_exc is not None:
            self._refuse(protocol.handshake_exc)
            return
        self._flush()
        if protocol.parser_exc is not None and self._state == OPEN:
            self.owner.count("websocket_errors")
            self.owner.complain(self.remote, f"WebSocket of {host_port(*self.remote)}: {protocol.parser_exc}")
            self.error = TransportError(f"WebSocket protocol error: {protocol.parser_exc}")
        if protocol.close_expected() or protocol.state is State.CLOSED:
            self.close()
        elif self._state == OPEN:
            self.message_pending(self._fragmented or not events)

    def _answer_upgrade(self, protocol: ServerProtocol, data: bytes) -> bytes:
        """Feed the HTTP request, and answer it; returns what follows it.

        Line by line: frames that come at once must not be looked at, let alone answered, before the request is.
        """
        end = 0
        while end < len(data):
            start, end = end, data.find(b"\n", end) + 1 or len(data)
            protocol.receive_data(data[start:end])
            for request in protocol.events_received():
                assert isinstance(request, Request)
                origin = _foreign(request, self._origins)
                if origin is not None:
                    protocol.send_response(protocol.reject(403, "Pages of this origin may not connect.\n"))
                    self._refuse(TransportError(f"it is opened by a page of {origin}: name it in websocket_origins"))
                    return b""
                protocol.send_response(protocol.accept(request))
                if protocol.state is State.OPEN:
                    self._flush()
                    self._ready()
                    return data[end:]
            if protocol.handshake_exc is not None:
                self._refuse(protocol.handshake_exc)
                return b""
        return b""

    def _client_response(self) -> None:
        protocol = self._protocol
        if protocol.state is not State.OPEN:
            return  # `handshake_exc` says why
        if protocol.subprotocol != SUBPROTOCOL:
            self._refuse(TransportError("the server does not speak SIP over WebSocket (subprotocol sip, RFC 7118 §4)"))
            return
        self._ready()

    def _refuse(self, error: Exception) -> None:
        """The upgrade failed: answer what is owed, and close."""
        self.owner.count("websocket_refused")
        peer = host_port(*self.remote)
        self.owner.complain(self.remote, f"WebSocket with {peer} refused: {_explain(error)}")
        self.error = TransportError(f"WebSocket with {peer} failed: {_explain(error)}")
        self._flush()
        self.close()

    def _frame(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.CLOSE or opcode is Opcode.PING or opcode is Opcode.PONG:
            return  # answered by the protocol; any of them shows that the peer is alive
        data = bytes(frame.data)
        if opcode is not Opcode.CONT:
            self._text = opcode is Opcode.TEXT
            if frame.fin:
                self._message(data)
                return
        self._fragmented = True
        self._fragments += data
        if frame.fin:
            whole = bytes(self._fragments)
            self._fragments.clear()
            self._fragmented = False
            self._message(whole)

    def _message(self, data: bytes) -> None:
        if self._state != OPEN:
            return
        if self._text and not _is_utf8(data):
            self._protocol.fail(CloseCode.INVALID_DATA, "text that is not UTF-8")  # RFC 6455 §8.1
            self.owner.count("websocket_errors")
            return
        self.owner.received(self, data)

    def send(self, data: bytes) -> bool:
        """Send one message: as text where it is UTF-8, else as binary (RFC 7118 §5)."""
        protocol = self._protocol
        if self._state != OPEN or protocol.state is not State.OPEN:
            return False
        if _is_utf8(data):
            protocol.send_text(data)
        else:
            protocol.send_binary(data)
        return self._flush()

    def ping(self) -> None:
        """Ask whether the peer is still there, by WebSocket's own ping (RFC 7118 §6)."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"sip")
            self._flush()

    def close(self) -> None:
        """Say goodbye, write what is queued, then close."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CloseCode.GOING_AWAY)
        self._flush()
        super().close()

    def _flush(self) -> bool:
        transport = self._transport
        writes = self._protocol.data_to_send()
        if transport is None or transport.is_closing():
            return False
        for data in writes:
            if data:  # the empty one means the end of the stream: `close_expected` says so too
                transport.write(data)
        return self._within_bounds(transport)


def _foreign(request: Request, allowed: Collection[str]) -> str | None:
    """The origin of the page that opens this WebSocket, if it is one that may not (RFC 6455 §10.2).

    A browser lets any page connect to anywhere, also into the network that the browser is in, and says in Origin
    which page it was.  It may be a page of the host that it connects to, on whatever port, or one of *allowed*
    ("*": any).  Phones and servers are no browsers and send no Origin.
    """
    origins = request.headers.get_all("Origin")
    if not origins or "*" in allowed:
        return None
    origin = ", ".join(origins).strip()
    if origin.lower() in allowed:
        return None
    page, _ = split_host_port(origin.lower().partition("://")[2])
    hosts = {split_host_port(host.strip().lower())[0] for host in request.headers.get_all("Host")}
    return None if page and hosts == {page} else origin


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _explain(error: BaseException) -> str:
    if isinstance(error, InvalidHandshake | TransportError):
        text = str(error)
        if error.__cause__ is not None:
            text += f": {error.__cause__}"
        return text
    return str(error) or type(error).__name__
