"""SIP messages (RFC 3261 §7): raw header lines first, typed values on demand.

A message keeps its header lines as they came.  Reading one costs a look-up, its typed value is parsed on first use and
remembered, and writing one renders that line again and no other: what is not touched leaves byte for byte as it came.
"""

from __future__ import annotations

import re
from typing import Final, TypeVar

from .errors import LimitExceeded, LocalProtocolError, ParseError, RemoteProtocolError
from .grammar import excerpt, has_control, is_token, split_commas
from .header_lines import (
    CONTROL,
    KEYS,
    LINE_END,
    NOT_CONTROL,
    HeaderItems,
    Headers,
    check_controls,
    controls_are_quoted,
    join_folded,
    keys_of,
    line_value,
    unusual_key,
)
from .headers import (
    ALLOW,
    CALL_ID,
    CONTACT,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    CSEQ,
    EXPIRES,
    FROM,
    MAX_FORWARDS,
    PROXY_REQUIRE,
    RECORD_ROUTE,
    REQUIRE,
    ROUTE,
    SUPPORTED,
    TO,
    VIA,
    Address,
    CSeq,
    MediaType,
    Via,
    canonical_key,
)
from .limits import DEFAULT_LIMITS, Limits
from .plain_form import is_plain_request, is_plain_response, is_plain_without_tag
from .status import reason_phrase
from .uri import Uri, parse_uri

__all__ = ["DEFAULT_LIMITS", "METHODS", "Headers", "Limits", "Message", "Request", "Response", "parse", "validate"]

T = TypeVar("T")

METHODS: Final = frozenset(
    (
        *("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER"),  # RFC 3261
        "PRACK",  # RFC 3262
        "UPDATE",  # RFC 3311
        "MESSAGE",  # RFC 3428
        "REFER",  # RFC 3515
        "PUBLISH",  # RFC 3903
        "INFO",  # RFC 6086
        *("SUBSCRIBE", "NOTIFY"),  # RFC 6665
    )
)
"""The methods that RFCs define.  Any other token is a method too (§7.1), of which nothing here is known."""

# SIP-Version = "SIP" "/" 1*DIGIT "." 1*DIGIT
_VERSION: Final = re.compile(r"SIP/[0-9]+\.[0-9]+", re.IGNORECASE | re.ASCII)

_COPIED: Final = frozenset(("via", "from", "to", "call-id", "cseq"))
_COPIED_TO_100: Final = _COPIED | {"timestamp"}
_COPIED_TO_101_299: Final = _COPIED | {"record-route"}


class Message:
    """What `Request` and `Response` have in common.

    `headers` is the header; the properties are its most used fields, typed.  Those that every message must have raise
    ParseError when they are missing or malformed, the others are None or () when they are missing.
    """

    __slots__ = ("_body", "_data", "headers")

    headers: Headers
    _body: bytes
    _data: bytes | None
    """The bytes that all this was read from; None once the start-line or the body differ from them."""

    @property
    def start_line(self) -> str:
        """The start-line (§7.1, §7.2), without its line end."""
        raise NotImplementedError

    @property
    def body(self) -> bytes:
        """The body; setting it sets Content-Length too (§20.14)."""
        return self._body

    @body.setter
    def body(self, body: bytes) -> None:
        self._body = body
        self._data = None
        self.set_content_length()

    def set_content_length(self) -> None:
        """Make Content-Length right, adding it if it is missing: streams must have it (§18.3), datagrams may."""
        headers = self.headers
        length = str(len(self._body))
        if "content-length" not in headers._keys:
            headers._append_plain("content-length", "Content-Length: " + length)
        elif headers.get_all(CONTENT_LENGTH) != [length]:
            headers.set(CONTENT_LENGTH, length)
        headers._length_changed = False

    def encode(self) -> bytes:
        """The bytes to send: those it came in, as far as nothing was changed."""
        headers = self.headers
        data = self._data
        if data is not None and not headers._changed:
            return data
        if headers._length_changed and "content-length" in headers._keys:
            self.set_content_length()
        text = "\r\n".join((self.start_line, *headers._lines, "\r\n"))
        try:
            return text.encode("utf-8", "surrogateescape") + self._body
        except UnicodeEncodeError as error:
            raise LocalProtocolError(f"text that is no Unicode: {excerpt(text[error.start : error.end])}") from error

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.start_line!r}>"

    @property
    def via(self) -> Via:
        """The topmost Via (§20.42)."""
        value = self.headers.one(VIA)
        if value is None:
            raise ParseError("no Via")
        return value

    @property
    def vias(self) -> tuple[Via, ...]:
        """All Via values, the topmost first."""
        return self.headers.all(VIA)

    @property
    def cseq(self) -> CSeq:
        """CSeq (§20.16)."""
        value = self.headers.one(CSEQ)
        if value is None:
            raise ParseError("no CSeq")
        return value

    @property
    def from_(self) -> Address:
        """From (§20.20)."""
        value = self.headers.one(FROM)
        if value is None:
            raise ParseError("no From")
        return value

    @property
    def to(self) -> Address:
        """To (§20.39)."""
        value = self.headers.one(TO)
        if value is None:
            raise ParseError("no To")
        return value

    @property
    def call_id(self) -> str:
        """Call-ID (§20.8)."""
        value = self.headers.one(CALL_ID)
        if value is None:
            raise ParseError("no Call-ID")
        return value

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards (§20.22); None, which stands for 70 (§16.3), if it is missing."""
        return self.headers.one(MAX_FORWARDS)

    @property
    def contacts(self) -> tuple[Address, ...]:
        """All Contact values (§20.10)."""
        return self.headers.all(CONTACT)

    @property
    def routes(self) -> tuple[Address, ...]:
        """All Route values (§20.34), the next hop first."""
        return self.headers.all(ROUTE)

    @property
    def record_routes(self) -> tuple[Address, ...]:
        """All Record-Route values (§20.30), the topmost first."""
        return self.headers.all(RECORD_ROUTE)

    @property
    def expires(self) -> int | None:
        """Expires (§20.19), in seconds."""
        return self.headers.one(EXPIRES)

    @property
    def content_type(self) -> MediaType | None:
        """Content-Type (§20.15)."""
        return self.headers.one(CONTENT_TYPE)

    @property
    def require(self) -> tuple[str, ...]:
        """The option tags of Require (§20.32)."""
        return self.headers.all(REQUIRE)

    @property
    def supported(self) -> tuple[str, ...]:
        """The option tags of Supported (§20.37)."""
        return self.headers.all(SUPPORTED)

    @property
    def proxy_require(self) -> tuple[str, ...]:
        """The option tags of Proxy-Require (§20.29)."""
        return self.headers.all(PROXY_REQUIRE)

    @property
    def allow(self) -> tuple[str, ...]:
        """The methods of Allow (§20.5)."""
        return self.headers.all(ALLOW)


class Request(Message):
    """A request (§7.1).  `Request.build` makes one; `parse` reads one."""

    __slots__ = ("_uri", "_uri_text", "_version", "method", "to_strict_router")

    def __init__(
        self,
        method: str,
        uri_text: str,
        headers: Headers,
        body: bytes = b"",
        data: bytes | None = None,
        version: str = "SIP/2.0",
    ) -> None:
        self.headers = headers
        self._body = body
        self._data = data
        self.method: Final = method
        self._uri_text = uri_text
        self._uri: Uri | None = None
        self._version = version
        self.to_strict_router = False
        """Whether the Request-URI names a strict router, which goes before all Routes (§12.2.1.1, §16.6 step 6)."""

    @property
    def start_line(self) -> str:
        """The Request-Line (§7.1), without its line end."""
        return f"{self.method} {self._uri_text} {self._version}"

    @property
    def uri_text(self) -> str:
        """The Request-URI as written."""
        return self._uri_text

    @property
    def uri(self) -> Uri:
        """The Request-URI; ParseError, at every access, if it is malformed."""
        uri = self._uri
        if uri is None:
            uri = self._uri = parse_uri(self._uri_text)
        return uri

    @uri.setter
    def uri(self, uri: Uri | str) -> None:
        self._uri_text = _request_uri(uri)
        self._uri = None
        self._data = None

    @property
    def next_hop(self) -> Uri:
        """Where the request goes next (§8.1.2): the first Route, or the Request-URI without one.

        Of a request that was written for a strict router it is the Request-URI all the same.
        """
        if self.to_strict_router:
            return self.uri
        route = self.headers.one(ROUTE)
        return self.uri if route is None else route.uri

    @classmethod
    def build(
        cls,
        method: str,
        uri: Uri | str,
        *,
        from_: Address | str,
        to: Address | str,
        call_id: str,
        cseq: int,
        headers: HeaderItems = (),
        body: bytes = b"",
        content_type: MediaType | str | None = None,
        max_forwards: int | None = 70,
    ) -> Request:
        """A request as §8.1.1 describes it, but for the Via: the transaction layer adds that when it is sent.

        *headers* are (name, value) pairs; *cseq* is the number alone.  LocalProtocolError for a method, URI or header
        field value that cannot be written.
        """
        if not is_token(method):
            raise LocalProtocolError(f"not a method: {excerpt(method)}")
        fields = Headers()
        if max_forwards is not None:
            fields.add(MAX_FORWARDS, max_forwards)
        fields.add(FROM, from_)
        fields.add(TO, to)
        fields.add(CALL_ID, call_id)
        fields.add(CSEQ, f"{cseq} {method}")
        request = cls(method, _request_uri(uri), fields, body)
        _finish(request, headers, content_type)
        return request

    def create_response(
        self,
        status: int,
        reason: str | None = None,
        *,
        to_tag: str | None = None,
        headers: HeaderItems = (),
        body: bytes = b"",
        content_type: MediaType | str | None = None,
    ) -> Response:
        """A response to this request (§8.2.6): Via, From, To, Call-ID and CSeq are copied as they stand.

        *to_tag* is added to a To that has none yet; leave it out of a 100 only.  A 100 gets the Timestamp too, and a
        101 to 299 the Record-Route (§12.1.1).
        """
        copied = _COPIED if status >= 300 else (_COPIED_TO_101_299 if status > 100 else _COPIED_TO_100)
        source = self.headers
        fields = Headers()
        keys, lines = fields._keys, fields._lines
        for key, line in zip(source._keys, source._lines, strict=True):
            if key in copied:
                if to_tag and key == "to" and (is_plain_without_tag(line) or not self._to_has_tag()):
                    if not is_token(to_tag):
                        raise LocalProtocolError(f"not a tag: {excerpt(to_tag)}")
                    # A parameter appended to the end belongs to the header field in every form of To (§20.39).
                    line = f"{line.rstrip()};tag={to_tag}"
                keys.append(key)
                lines.append(line)
        response = Response(status, reason_phrase(status) if reason is None else reason, fields, body)
        _finish(response, headers, content_type)
        return response

    def _to_has_tag(self) -> bool:
        try:
            return self.to.tag is not None
        except ParseError:
            return True  # To is beyond repair; it goes back as it came

    def create_cancel(self) -> Request:
        """The CANCEL for this request as it was sent, topmost Via included (§9.1)."""
        if self.method in ("ACK", "CANCEL"):
            raise LocalProtocolError(f"{self.method} cannot be cancelled (RFC 3261 §9.1)")
        return self._create_related("CANCEL", None)

    def create_ack(self, response: Response) -> Request:
        """The ACK for *response*, a 3xx to 6xx, to this INVITE as it was sent, topmost Via included (§17.1.1.3).

        The ACK for a 2xx is a matter of the dialog (§13.2.2.4).
        """
        if self.method != "INVITE":
            raise LocalProtocolError(f"{self.method} is not acknowledged (RFC 3261 §17.1.1.3)")
        return self._create_related("ACK", response)

    def _create_related(self, method: str, response: Response | None) -> Request:
        """A request of the same hop: same URI, Call-ID, From, CSeq number and routes, and the one Via."""
        source = self.headers
        fields = Headers()
        fields.add(VIA, self.via)
        fields.add(MAX_FORWARDS, 70)
        for key, line in zip(source._keys, source._lines, strict=True):
            if key in ("from", "call-id", "route") or (key == "to" and response is None):
                fields._lines.append(line)
                fields._keys.append(key)
            elif key == "to" and response is not None:
                fields.add(TO, response.headers.get(TO) or "")
            elif key == "cseq":
                fields.add(CSEQ, f"{self.cseq.number} {method}")
        request = Request(method, self._uri_text, fields)
        request.set_content_length()
        return request

    def copy(self) -> Request:
        """An independent copy."""
        copy = Request(self.method, self._uri_text, self.headers.copy(), self._body, self._data, self._version)
        copy._uri = self._uri
        copy.to_strict_router = self.to_strict_router
        return copy


class Response(Message):
    """A response (§7.2).  `Request.create_response` makes one; `parse` reads one."""

    __slots__ = ("_version", "reason", "status")

    def __init__(
        self,
        status: int,
        reason: str,
        headers: Headers,
        body: bytes = b"",
        data: bytes | None = None,
        version: str = "SIP/2.0",
    ) -> None:
        self.headers = headers
        self._body = body
        self._data = data
        self.status: Final = status
        self.reason: Final = reason
        self._version = version

    @property
    def start_line(self) -> str:
        """The Status-Line (§7.2), without its line end."""
        return f"{self._version} {self.status} {self.reason}"

    @classmethod
    def build(
        cls,
        status: int,
        reason: str | None = None,
        *,
        headers: HeaderItems = (),
        body: bytes = b"",
        content_type: MediaType | str | None = None,
    ) -> Response:
        """A response of these header fields alone; for one to a request at hand use `Request.create_response`."""
        response = cls(status, reason_phrase(status) if reason is None else reason, Headers(), body)
        _finish(response, headers, content_type)
        return response

    def copy(self) -> Response:
        """An independent copy."""
        return Response(self.status, self.reason, self.headers.copy(), self._body, self._data, self._version)


def _finish(message: Request | Response, headers: HeaderItems, content_type: MediaType | str | None) -> None:
    """Check the start-line of a message being built, and add its further header fields."""
    if isinstance(message, Response):
        if not 100 <= message.status <= 699:
            raise LocalProtocolError(f"not a status code: {message.status}")
        if not message.reason.isprintable() and has_control(message.reason):
            raise LocalProtocolError(f"not a reason phrase: {excerpt(message.reason)}")
    fields = message.headers
    for name, value in headers:
        fields.add(name, value)
    if content_type is not None:
        fields.set(CONTENT_TYPE, content_type)
    message.set_content_length()


def _request_uri(uri: Uri | str) -> str:
    text = str(uri)
    if not _is_request_uri(text):
        raise LocalProtocolError(f"not a Request-URI: {excerpt(text)}")
    return text


def _is_request_uri(text: str) -> bool:
    """Whether *text* can stand in a Request-Line: no white space, controls or angle brackets (§7.1)."""
    return (
        bool(text)
        and "<" not in text
        and ">" not in text
        and " " not in text
        and "\t" not in text
        and not has_control(text)
    )


# Reading messages


def parse(data: bytes | bytearray | memoryview, *, limits: Limits = DEFAULT_LIMITS) -> Request | Response:
    """Read one message: a datagram, a WebSocket message, or what a `StreamFramer` has cut out of a stream.

    Splits and checks what security and framing depend on; values are parsed when they are asked for, and `validate`
    asks for those that every message must have.  CRLFs before the start-line and octets after the body are dropped
    (§7.5, §18.3).  Raises ParseError or LimitExceeded, which say how to answer.
    """
    if not isinstance(data, bytes):
        data = bytes(data)
    try:
        return _parse(data, limits)
    except RemoteProtocolError as error:
        if error.status_hint is not None:
            error.request = request_to_answer(data)
        if error.request is None:
            error.status_hint = None
        raise


def _parse(data: bytes, limits: Limits) -> Request | Response:
    if data[:2] == b"\r\n":
        data = _without_leading_crlf(data)
    end = data.find(b"\r\n\r\n")
    if end < 0:
        raise ParseError("no blank line after the header (RFC 3261 §7)")
    if end > limits.head - 4:
        raise LimitExceeded("start-line and header too long", 513, "head")
    head = data[:end]
    lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    start = lines.pop(0)
    # Every CR and LF must be one of those that the lines were split at; any surplus is another control character.
    if len(head.translate(None, NOT_CONTROL)) != 2 * len(lines):
        check_controls(start, lines)

    keys: list[str] = []
    known = KEYS
    for line in lines:
        name, colon, _ = line.partition(":")
        if colon and name in known:
            keys.append(known[name])
        elif line[:1] == " " or line[:1] == "\t":
            lines = join_folded(lines)
            keys = keys_of(lines)
            break
        else:
            keys.append(unusual_key(name, colon))

    if len(keys) > limits.headers or end > limits.header_line:
        _check_lines(lines, limits)
    # No header field can have more values than there are lines and commas.
    values = len(keys) + head.count(b",")
    if values > limits.routes or values > limits.record_routes or values > limits.vias:
        _check_depth(lines, keys, "via", limits.vias, 483, "vias")
        _check_depth(lines, keys, "route", limits.routes, 513, "routes")
        _check_depth(lines, keys, "record-route", limits.record_routes, 513, "record_routes")

    end += 4
    size = len(data) - end
    lengths = keys.count("content-length")
    if lengths:
        if lengths > 1:
            raise ParseError("Content-Length is repeated")
        length = content_length(line_value(lines[keys.index("content-length")]))
        if length != size:
            if length > limits.body:
                raise LimitExceeded("body too long", 413, "body")
            if length > size:
                raise ParseError(f"Content-Length is {length}, but the body has {size} octets (RFC 3261 §18.3)")
            size = length
            data = data[: end + size]
    if size > limits.body:
        raise LimitExceeded("body too long", 413, "body")
    if len(data) > limits.message:
        raise LimitExceeded("message too long", 513, "message")
    body = data[end:] if size else b""

    headers = Headers()
    headers._lines = lines
    headers._keys = keys
    method, _, rest = start.partition(" ")
    uri, _, version = rest.partition(" ")
    if version != "SIP/2.0" or method not in METHODS:
        if method[:4].upper() == "SIP/" and method.isascii():  # there are other letters whose capitals are S and I
            return _parse_status_line(start, headers, body, data)
        _check_request_line(method, version, start)
    if len(uri) > limits.request_uri:
        raise LimitExceeded("Request-URI too long", 414, "request_uri")
    if not uri or "<" in uri or ">" in uri or "\t" in uri:
        raise ParseError(f"malformed Request-URI: {excerpt(uri)} (RFC 3261 §7.1)")
    return Request(method, uri, headers, body, data, version)


def _without_leading_crlf(data: bytes) -> bytes:
    trimmed = data.lstrip(b"\r\n")
    leading = len(data) - len(trimmed)
    if data[:leading] != b"\r\n" * (leading // 2):
        raise ParseError("a bare CR or LF before the start-line")
    return trimmed


def _check_request_line(method: str, version: str, start: str) -> None:
    """Judge a Request-Line of an uncommon method or version (§7.1)."""
    if not is_token(method):
        raise ParseError(f"not a method: {excerpt(method)}")
    if _VERSION.fullmatch(version) is None:
        raise ParseError(f"malformed Request-Line: {excerpt(start)} (RFC 3261 §7.1)")
    if version.upper() != "SIP/2.0":
        raise ParseError(f"version {excerpt(version)}", 505)


def _parse_status_line(start: str, headers: Headers, body: bytes, data: bytes) -> Response:
    version, _, rest = start.partition(" ")
    code, space, reason = rest.partition(" ")
    if (
        version.upper() != "SIP/2.0"
        or not space
        or len(code) != 3
        or not (code.isascii() and code.isdigit())
        or not "100" <= code <= "699"
    ):
        raise ParseError(f"malformed Status-Line: {excerpt(start)} (RFC 3261 §7.2)", None)
    return Response(int(code), reason, headers, body, data, version)


def content_length(text: str) -> int:
    """The value of a Content-Length header field (§20.14): digits and nothing else; ParseError otherwise."""
    if not (text.isdigit() and text.isascii()):
        raise ParseError(f"malformed Content-Length: {excerpt(text)} (RFC 3261 §20.14)")
    if len(text) < 19:
        return int(text)
    # No body is as long as a number of 19 digits says; int() of a long one would take more than linear time.
    return int(text.lstrip("0")[:19] or "0")


def _check_lines(lines: list[str], limits: Limits) -> None:
    if len(lines) > limits.headers:
        raise LimitExceeded("too many header fields", 513, "headers")
    for line in lines:
        if len(line.encode("utf-8", "surrogateescape")) > limits.header_line:
            raise LimitExceeded("a header field too long", 513, "header_line")


def _check_depth(lines: list[str], keys: list[str], key: str, bound: int, status: int, name: str) -> None:
    count = 0
    for index, other in enumerate(keys):
        if other == key:
            text = line_value(lines[index])
            try:
                count += len(split_commas(text))
            except ParseError:  # as malformed as it is, it is not to be refused because of what else there is
                count += 1 + text.count(",")
    if count > bound:
        raise LimitExceeded(f"too many values of {key}", status, name)


def request_to_answer(data: bytes) -> Request | None:
    """What a response must copy (§8.2.6.2) of a request too broken to be parsed; None if none can or may be sent.

    An ACK is never answered (§17.1), nor is what may have been a response, or has no Via by which to send one
    (§18.2.2).  Header fields that cannot be used, and those that come twice, are left out.
    """
    head, end, _ = data.lstrip(b"\r\n").partition(b"\r\n\r\n")
    if not end or len(head) > DEFAULT_LIMITS.head:
        head = head[: DEFAULT_LIMITS.head].rpartition(b"\r\n")[0]  # the last line may be but a part of one
    lines = LINE_END.split(head.decode("utf-8", "surrogateescape"))
    words = lines[0].split(" ")
    method = words[0]
    if len(words) < 2 or not is_token(method) or method == "ACK":
        return None
    headers = Headers()
    seen: set[str] = set()
    for line in lines[1:]:
        name, _, value = line.partition(":")
        name = name.rstrip(" \t")
        if not is_token(name):
            continue
        key = canonical_key(name)
        if key not in _COPIED or (key != "via" and key in seen) or not value.strip():
            continue
        plain = line.replace("\r\n", "")
        if CONTROL.search(plain) is not None and not controls_are_quoted(plain):
            continue
        headers._lines.append(line)
        headers._keys.append(key)
        seen.add(key)
    try:
        if headers.one(VIA) is None:
            return None
    except ParseError:
        return None
    return Request(method, words[1] if _is_request_uri(words[1]) else "sip:invalid", headers)


def validate(message: Request | Response) -> None:
    """Check what every message must have (§8.1.1, §8.2.6.2), once, before anything is done with it.

    Via, From, To, Call-ID and CSeq are there, once, and well-formed; so are Max-Forwards and the Request-URI of a
    request (a missing Max-Forwards is taken for 70, §16.3), and its CSeq names its method.  Raises RemoteProtocolError
    with the status owed and the request to answer; for a response or an ACK there is nothing owed.
    """
    try:
        via = message.via
        if via.protocol != "SIP/2.0":
            raise ParseError(f"Via of {excerpt(via.protocol)}", 505)
        if isinstance(message, Request):
            if is_plain_request(message.headers, message.method, message.uri_text):
                return
        elif is_plain_response(message.headers):
            return
        cseq = message.cseq
        message.from_  # noqa: B018
        message.to  # noqa: B018
        message.call_id  # noqa: B018
        if isinstance(message, Request):
            message.headers.one(MAX_FORWARDS)
            message.uri  # noqa: B018
            if cseq.method != message.method:
                # RFC 4475 §3.1.2.18: a method that is not known comes before what else is wrong
                raise ParseError(
                    f"CSeq of {excerpt(cseq.method)} in {excerpt(message.method)} (RFC 3261 §8.1.1.5)",
                    400 if message.method in METHODS else 501,
                )
    except RemoteProtocolError as error:
        if isinstance(message, Request) and message.method != "ACK" and error.status_hint is not None:
            error.request = request_to_answer(message.encode())
        if error.request is None:
            error.status_hint = None
        raise
