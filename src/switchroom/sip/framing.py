"""Cutting a stream of bytes into messages and keep-alives (RFC 3261 §18.3, RFC 5626 §3.5.1).

Datagrams and WebSocket messages need no framing: each holds one message, and `message.parse` reads it.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from .errors import LimitExceeded, ParseError, RemoteProtocolError
from .grammar import unfold
from .limits import DEFAULT_LIMITS, Limits
from .message import content_length, request_to_answer


class CrlfKeepAlive(Enum):
    """What CRLFs between messages mean (RFC 5626 §3.5.1)."""

    PING = "ping"
    PONG = "pong"


PING: Final = CrlfKeepAlive.PING
"""The peer sent a double CRLF, and is owed a single one."""
PONG: Final = CrlfKeepAlive.PONG
"""The peer sent a single CRLF: the answer to a ping, or one that §7.5 says to ignore."""

# Content-Length = ( "Content-Length" / "l" ) HCOLON 1*DIGIT, with every white space and folding that HCOLON allows, and
# a folding before the colon, which it does not: `parse` refuses that, but others may read a second length there.
_CONTENT_LENGTH: Final = re.compile(
    rb"\r\n(?:[Cc][Oo][Nn][Tt][Ee][Nn][Tt]-[Ll][Ee][Nn][Gg][Tt][Hh]|[Ll])(?:\r\n[ \t]|[ \t])*+:"
    rb"([^\r]*+(?:\r\n[ \t][^\r]*+)*+)"
)
_NOT_LINE_END: Final = bytes(octet for octet in range(256) if octet not in b"\r\n")


class StreamFramer:
    """Cuts what arrives on one connection into messages, without reading more of them than that needs.

    Feed what arrives, then call `next` until it returns None.  An error is final: the stream cannot be framed from
    there on, so answer `error.request` if there is one, and close (§18.3).  `head` is what had arrived of the message
    at fault.  All work is linear in the bytes fed, however they are split.
    """

    __slots__ = ("_buffer", "_end", "_error", "_limits", "_pongs", "_scanned", "_unpaired", "head")

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._scanned = 0
        """How much of the buffer is known to hold no end of a head."""
        self._end = 0
        """The size of the message that the buffer starts with; 0 while that is not known."""
        self._pongs = 0
        self._unpaired = False
        """Whether a single CRLF was told as a pong that may yet turn out to be half a ping."""
        self._error: RemoteProtocolError | None = None
        self.head = b""

    @property
    def dead(self) -> bool:
        """Whether an error has ended this stream."""
        return self._error is not None

    @property
    def pending(self) -> int:
        """How many bytes wait for the rest of their message."""
        return len(self._buffer)

    def expect_pong(self) -> None:
        """Say that a ping was sent, so that the next CRLF between messages is its pong and never half a ping.

        Without that, two pongs that come in a row read as one ping.
        """
        self._pongs += 1

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Add what arrived.  After an error it is ignored."""
        if self._error is None:
            self._buffer += data

    def next(self) -> bytes | CrlfKeepAlive | None:
        """The next message or keep-alive; None if more must arrive first.

        ParseError or LimitExceeded when the stream cannot be framed, from then on at every call: no Content-Length,
        a malformed or a repeated one, a bare CR or LF in the head, a head or message over its limit.
        """
        if self._error is not None:
            raise self._error
        try:
            return self._next()
        except RemoteProtocolError as error:
            self._error = error
            self.head = bytes(self._buffer[: self._limits.head])
            self._buffer.clear()
            if error.status_hint is not None:
                error.request = request_to_answer(self.head)
            if error.request is None:
                error.status_hint = None
            raise

    def _next(self) -> bytes | CrlfKeepAlive | None:
        buffer = self._buffer
        if not self._end:
            if buffer[:1] == b"\r":
                return self._next_keep_alive()
            if not buffer:
                return None
            if not 32 < buffer[0] < 127:
                # TLS or STUN gone astray, or a lone LF: no start-line begins so, and waiting for its end is pointless.
                raise ParseError("no start-line begins with this octet", None)
            self._unpaired = False
            self._end = self._find_end()
            if not self._end:
                return None
        if len(buffer) < self._end:
            return None
        message = bytes(memoryview(buffer)[: self._end])
        del buffer[: self._end]
        self._end = self._scanned = 0
        return message

    def _next_keep_alive(self) -> CrlfKeepAlive | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        if buffer[:2] != b"\r\n":
            raise ParseError("a bare CR before the start-line")
        if self._pongs:
            self._pongs -= 1
        elif self._unpaired:
            self._unpaired = False
            del buffer[:2]
            return PING
        elif buffer[:4] == b"\r\n\r\n":
            del buffer[:4]
            return PING
        else:
            # Half a ping, of which the rest comes later, or the pong to a ping that nobody announced.
            self._unpaired = True
        del buffer[:2]
        return PONG

    def _find_end(self) -> int:
        """The size of the message that the buffer starts with; 0 if its head is not complete."""
        buffer = self._buffer
        limits = self._limits
        end = buffer.find(b"\r\n\r\n", self._scanned)
        if end < 0:
            if len(buffer) >= limits.head:
                if b"\r\n" not in buffer:
                    raise LimitExceeded("Request-URI too long", 414, "request_uri")
                raise LimitExceeded("start-line and header too long", 513, "head")
            # The last three bytes may be the first three of the blank line.
            self._scanned = max(len(buffer) - 3, 0)
            return 0
        if end > limits.head - 4:
            raise LimitExceeded("start-line and header too long", 513, "head")
        head = bytes(memoryview(buffer)[: end + 2])
        if len(head.translate(None, _NOT_LINE_END)) != 2 * head.count(b"\r\n"):
            # Peers differ on what ends a line, and so on where this message ends.
            raise ParseError("a bare CR or LF (RFC 3261 §7.3.1)")
        lengths = _CONTENT_LENGTH.findall(head)
        if len(lengths) != 1:
            if lengths:
                raise ParseError("Content-Length is repeated")
            raise ParseError("no Content-Length on a stream (RFC 3261 §18.3)")
        length = content_length(unfold(lengths[0].decode("latin-1")))
        if length > limits.body:
            raise LimitExceeded("body too long", 413, "body")
        end += 4 + length
        if end > limits.message:
            raise LimitExceeded("message too long", 513, "message")
        return end
