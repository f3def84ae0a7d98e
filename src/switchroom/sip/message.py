"""SIP messages (RFC 3261 §7): raw header lines first, typed values on demand.

A message keeps its header lines as they came.  Reading one costs a look-up, its typed value is parsed on first use and
remembered, and writing one renders that line again and no other: what is not touched leaves byte for byte as it came.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

from .errors import LimitExceeded, LocalProtocolError, ParseError, RemoteProtocolError
from .grammar import excerpt, has_control, is_token, split_commas, unfold
from .headers import (
    ALLOW,
    CALL_ID,
    CONTACT,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    CSEQ,
    EXPIRES,
    FIELDS,
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
    HeaderField,
    MediaType,
    Via,
    canonical_key,
)
from .limits import DEFAULT_LIMITS, Limits
from .status import reason_phrase
from .uri import Uri, parse_uri

__all__ = ["DEFAULT_LIMITS", "METHODS", "Headers", "Limits", "Message", "Request", "Response", "parse", "validate"]

T = TypeVar("T")
HeaderName = str | HeaderField[Any]
HeaderItems = Iterable[tuple[HeaderName, object]]

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
_VERSION: Final = re.compile(r"SIP/[0-9]+\.[0-9]+", re.IGNORECASE)
# What no line may hold outside a quoted-pair: all control characters but HTAB.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NOT_CONTROL: Final = bytes(octet for octet in range(256) if octet == 9 or (octet > 31 and octet != 127))
_LINE_END: Final = re.compile(r"\r\n(?![ \t])")

# Header fields whose list may be empty (§25.1).
_MAY_BE_EMPTY: Final = frozenset(("accept", "accept-encoding", "accept-language", "allow", "supported"))

_COPIED: Final = frozenset(("via", "from", "to", "call-id", "cseq"))


def _spellings() -> dict[str, str]:
    """The canonical key of every usual way to write the name of a header field that is known."""
    keys: dict[str, str] = {}
    for field in list(FIELDS.values()):
        for name in (field.name, field.key, field.name.upper(), field.name.title()):
            keys[name] = field.key
        if field.compact is not None:
            keys[field.compact.lower()] = keys[field.compact.upper()] = field.key
    return keys


_KEYS: Final[dict[str, str]] = _spellings()


class Headers:
    """The header fields of a message, in the order of their lines.

    A name is given in any case, in its compact form, or as a `HeaderField`.  Typed values are parsed on first use and
    remembered until their header field is written; a malformed one raises ParseError at every access.
    """

    __slots__ = ("_all", "_changed", "_first", "_keys", "_length_changed", "_lines")

    def __init__(self, items: HeaderItems = ()) -> None:
        self._lines: list[str] = []
        """Each header field as written, without its line end, continuation lines included."""
        self._keys: list[str] = []
        """The canonical key of each of them."""
        self._first: dict[str, Any] | None = None
        self._all: dict[str, tuple[Any, ...]] | None = None
        self._changed = False
        """Whether the lines differ from the bytes that they were read from."""
        self._length_changed = False
        for name, value in items:
            self.add(name, value)

    # Reading

    def get(self, name: HeaderName) -> str | None:
        """The value of the first line of header field *name*, unfolded and trimmed; None if there is none."""
        key = _key(name)
        if key not in self._keys:
            return None
        return _value(self._lines[self._keys.index(key)])

    def get_all(self, name: HeaderName) -> list[str]:
        """The value of every line of header field *name*, unfolded and trimmed; comma lists are not split."""
        key = _key(name)
        if key not in self._keys:
            return []
        lines = self._lines
        return [_value(lines[index]) for index, other in enumerate(self._keys) if other == key]

    def one(self, field: HeaderField[T]) -> T | None:
        """The first typed value of *field*; None if there is none.

        ParseError if it is malformed, or if the header field is repeated and must not be (§7.3.1).
        """
        if self._first is not None:
            value: T | None = self._first.get(field.key)
            if value is not None:
                return value
        return self._parse_first(field)

    def _parse_first(self, field: HeaderField[T]) -> T | None:
        key = field.key
        keys = self._keys
        if key not in keys:
            return None
        index = keys.index(key)
        text = _value(self._lines[index])
        if field.comma:
            if "," in text:
                text = split_commas(text)[0]
            elif not text and key in _MAY_BE_EMPTY:
                values = self.all(field)
                return values[0] if values else None
        elif not field.multiple and keys.count(key) > 1:
            raise ParseError(f"{field.name} is repeated")
        parsed = _parse_value(field, text)
        if self._first is None:
            self._first = {}
        self._first[key] = parsed
        return parsed

    def all(self, field: HeaderField[T]) -> tuple[T, ...]:
        """The typed values of all lines of *field*, comma lists split; ParseError if any of them is malformed."""
        key = field.key
        if self._all is not None:
            cached: tuple[T, ...] | None = self._all.get(key)
            if cached is not None:
                return cached
        if key not in self._keys:
            return ()
        values: list[T] = []
        for text in self.get_all(key):
            if field.comma and "," in text:
                values += [_parse_value(field, item) for item in split_commas(text)]
            elif text or key not in _MAY_BE_EMPTY:
                values.append(_parse_value(field, text))
        if len(values) > 1 and not field.multiple:
            raise ParseError(f"{field.name} is repeated")
        result = tuple(values)
        if self._all is None:
            self._all = {}
        self._all[key] = result
        return result

    def __contains__(self, name: object) -> bool:
        if isinstance(name, str):
            return canonical_key(name) in self._keys
        return isinstance(name, HeaderField) and name.key in self._keys

    def __len__(self) -> int:
        """How many header fields there are, counted in lines."""
        return len(self._lines)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """(name as written, value unfolded and trimmed) of each line."""
        return iter([(line.partition(":")[0].rstrip(" \t"), _value(line)) for line in self._lines])

    def __repr__(self) -> str:
        return f"Headers({list(self)!r})"

    # Writing

    def set(self, name: HeaderName, value: object) -> None:
        """Make *value* the only one of header field *name*, in the place of the first line or else at the end.

        LocalProtocolError for what cannot stand in a header field; so a value can never smuggle in a line of its own.
        """
        key = _key(name)
        line = _render(name, str(value))
        if key in self._keys:
            index = self._keys.index(key)
            self._lines[index] = line
            if self._keys.count(key) > 1:
                self._delete(key, index + 1)
        else:
            self._lines.append(line)
            self._keys.append(key)
        self._touch(key)

    def add(self, name: HeaderName, value: object, first: bool = False) -> None:
        """Add a line at the end of the header or, if *first*, above those of the same name (else at the top).

        LocalProtocolError for what cannot stand in a header field.
        """
        key = _key(name)
        line = _render(name, str(value))
        if first:
            index = self._keys.index(key) if key in self._keys else 0
            self._lines.insert(index, line)
            self._keys.insert(index, key)
        else:
            self._lines.append(line)
            self._keys.append(key)
        self._touch(key)

    def remove(self, name: HeaderName) -> int:
        """Remove all lines of header field *name*; how many there were."""
        key = _key(name)
        count = self._keys.count(key)
        if count:
            self._delete(key, 0)
            self._touch(key)
        return count

    def pop_first(self, field: HeaderField[T]) -> T:
        """Remove the topmost value of *field* and return it; the others of its line stay.

        ParseError if it is malformed (it stays then) or if there is none.
        """
        value = self.one(field)
        if value is None:
            raise ParseError(f"no {field.name}")
        index = self._keys.index(field.key)
        rest = split_commas(_value(self._lines[index]))[1:] if field.comma else []
        if rest:
            self._lines[index] = _render(field, ", ".join(rest))
        else:
            del self._lines[index], self._keys[index]
        self._touch(field.key)
        return value

    def replace_first(self, field: HeaderField[T], value: T | str) -> None:
        """Render the topmost value of *field* anew; ParseError if there is none."""
        if field.key not in self._keys:
            raise ParseError(f"no {field.name}")
        index = self._keys.index(field.key)
        values = [str(value)]
        if field.comma:
            values += split_commas(_value(self._lines[index]))[1:]
        self._lines[index] = _render(field, ", ".join(values))
        self._touch(field.key)

    def copy(self) -> Headers:
        """An independent copy; what was parsed already need not be parsed again."""
        copy = Headers()
        copy._lines = self._lines.copy()
        copy._keys = self._keys.copy()
        copy._first = None if self._first is None else self._first.copy()
        copy._all = None if self._all is None else self._all.copy()
        copy._changed = self._changed
        copy._length_changed = self._length_changed
        return copy

    def _delete(self, key: str, start: int) -> None:
        keys = self._keys
        for index in range(len(keys) - 1, start - 1, -1):
            if keys[index] == key:
                del keys[index], self._lines[index]

    def _touch(self, key: str) -> None:
        self._changed = True
        if self._first is not None:
            self._first.pop(key, None)
        if self._all is not None:
            self._all.pop(key, None)
        if key == "content-length":
            self._length_changed = True


def _key(name: HeaderName) -> str:
    return canonical_key(name) if isinstance(name, str) else name.key


def _value(line: str) -> str:
    value = line.partition(":")[2]
    return unfold(value) if "\n" in value else value.strip(" \t")


def _parse_value(field: HeaderField[T], text: str) -> T:
    try:
        return field.parse(text)
    except ValueError as error:  # of a parser that a user has registered, such as int
        raise ParseError(f"malformed {field.name}: {excerpt(text)}") from error


def _render(name: HeaderName, value: str) -> str:
    if isinstance(name, str):
        if not is_token(name):
            raise LocalProtocolError(f"not a header field name: {excerpt(name)}")
    else:
        name = name.name
    line = f"{name}: {value}"
    if _CONTROL.search(line) is not None and ("\r" in line or "\n" in line or not _controls_are_quoted(line)):
        raise LocalProtocolError(f"{name} cannot hold control characters: {excerpt(value)}")
    return line


class Message:
    """What `Request` and `Response` have in common.

    `headers` is the header; the properties are its most used fields, typed.  Those that every message must have raise
    ParseError when they are missing or malformed, the others are None or () when they are missing.
    """

    __slots__ = ("_body", "_data", "headers")

    def __init__(self, headers: Headers, body: bytes = b"", data: bytes | None = None) -> None:
        self.headers = headers
        self._body = body
        self._data = data
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
        length = str(len(self._body))
        if self.headers.get_all(CONTENT_LENGTH) != [length]:
            self.headers.set(CONTENT_LENGTH, length)
        self.headers._length_changed = False

    def encode(self) -> bytes:
        """The bytes to send: those it came in, as far as nothing was changed."""
        headers = self.headers
        data = self._data
        if data is not None and not headers._changed:
            return data
        if headers._length_changed and "content-length" in headers._keys:
            self.set_content_length()
        text = "\r\n".join((self.start_line, *headers._lines, "\r\n"))
        return text.encode("utf-8", "surrogateescape") + self._body

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.start_line!r}>"

    @property
    def via(self) -> Via:
        """The topmost Via (§20.42)."""
        return _required(VIA, self.headers.one(VIA))

    @property
    def vias(self) -> tuple[Via, ...]:
        """All Via values, the topmost first."""
        return self.headers.all(VIA)

    @property
    def cseq(self) -> CSeq:
        """CSeq (§20.16)."""
        return _required(CSEQ, self.headers.one(CSEQ))

    @property
    def from_(self) -> Address:
        """From (§20.20)."""
        return _required(FROM, self.headers.one(FROM))

    @property
    def to(self) -> Address:
        """To (§20.39)."""
        return _required(TO, self.headers.one(TO))

    @property
    def call_id(self) -> str:
        """Call-ID (§20.8)."""
        return _required(CALL_ID, self.headers.one(CALL_ID))

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


def _required(field: HeaderField[T], value: T | None) -> T:
    if value is None:
        raise ParseError(f"no {field.name}")
    return value


class Request(Message):
    """A request (§7.1).  `Request.build` makes one; `parse` reads one."""

    __slots__ = ("_uri", "_uri_text", "_version", "method")

    def __init__(
        self,
        method: str,
        uri_text: str,
        headers: Headers,
        body: bytes = b"",
        data: bytes | None = None,
        version: str = "SIP/2.0",
    ) -> None:
        super().__init__(headers, body, data)
        self.method: Final = method
        self._uri_text = uri_text
        self._uri: Uri | None = None
        self._version = version

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
        copy_route = 100 < status < 300
        source = self.headers
        fields = Headers()
        for key, line in zip(source._keys, source._lines, strict=True):
            if key in _COPIED or (copy_route and key == "record-route") or (status == 100 and key == "timestamp"):
                if to_tag and key == "to" and not self._to_has_tag():
                    if not is_token(to_tag):
                        raise LocalProtocolError(f"not a tag: {excerpt(to_tag)}")
                    # A parameter appended to the end belongs to the header field in every form of To (§20.39).
                    line = f"{line.rstrip()};tag={to_tag}"
                fields._lines.append(line)
                fields._keys.append(key)
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
        super().__init__(headers, body, data)
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
        if has_control(message.reason):
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
        trimmed = data.lstrip(b"\r\n")
        leading = len(data) - len(trimmed)
        if data[:leading] != b"\r\n" * (leading // 2):
            raise ParseError("a bare CR or LF before the start-line")
        data = trimmed
    end = data.find(b"\r\n\r\n")
    if end < 0:
        raise ParseError("no blank line after the header (RFC 3261 §7)")
    if end > limits.head - 4:
        raise LimitExceeded("start-line and header too long", 513, "head")
    head = data[:end]
    lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    # Every CR and LF must be one of those that the lines were split at; any surplus is another control character.
    control = len(head.translate(None, _NOT_CONTROL)) != 2 * (len(lines) - 1)
    start = lines[0]
    del lines[0]
    if control:
        _check_controls(start, lines)

    keys: list[str] = []
    known = _KEYS
    for line in lines:
        name, colon, _ = line.partition(":")
        key = known.get(name)
        if key is None or not colon:
            if line[:1] in (" ", "\t"):
                lines = _join_folded(lines)
                keys = _keys_of(lines)
                break
            key = _unusual_key(name, colon)
        keys.append(key)
    _check_sizes(lines, keys, head, limits)

    headers = Headers()
    headers._lines = lines
    headers._keys = keys

    begin = end + 4
    size = len(data) - begin
    if "content-length" in keys:
        if keys.count("content-length") > 1:
            raise ParseError("Content-Length is repeated")
        length = content_length(_value(lines[keys.index("content-length")]))
        if length > size:
            if length > limits.body:
                raise LimitExceeded("body too long", 413, "body")
            raise ParseError(f"Content-Length is {length}, but the body has {size} octets (RFC 3261 §18.3)")
        if length < size:
            size = length
            data = data[: begin + size]
    if size > limits.body:
        raise LimitExceeded("body too long", 413, "body")
    if len(data) > limits.message:
        raise LimitExceeded("message too long", 513, "message")
    body = data[begin:] if size else b""
    return _parse_start_line(start, headers, body, data, limits)


def _parse_start_line(start: str, headers: Headers, body: bytes, data: bytes, limits: Limits) -> Request | Response:
    method, _, rest = start.partition(" ")
    uri, _, version = rest.partition(" ")
    if version == "SIP/2.0" and method in METHODS:
        pass
    elif method[:4].upper() == "SIP/":
        return _parse_status_line(start, headers, body, data)
    elif not is_token(method):
        raise ParseError(f"not a method: {excerpt(method)}")
    elif _VERSION.fullmatch(version) is None:
        raise ParseError(f"malformed Request-Line: {excerpt(start)} (RFC 3261 §7.1)")
    elif version.upper() != "SIP/2.0":
        raise ParseError(f"version {excerpt(version)}", 505)
    if len(uri) > limits.request_uri:
        raise LimitExceeded("Request-URI too long", 414, "request_uri")
    if not _is_request_uri(uri):
        raise ParseError(f"malformed Request-URI: {excerpt(uri)} (RFC 3261 §7.1)")
    return Request(method, uri, headers, body, data, version)


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


def parse_headers(head: bytes) -> Headers:
    """Read header lines that stand alone: those of a body part (RFC 2046 §5.1), or of message/sipfrag (RFC 3420)."""
    lines = head.decode("utf-8", "surrogateescape").split("\r\n") if head else []
    if len(head.translate(None, _NOT_CONTROL)) != 2 * max(len(lines) - 1, 0):
        _check_controls("", lines)
    if lines and lines[0][:1] in (" ", "\t"):
        raise ParseError("a continuation of nothing (RFC 3261 §7.3.1)")
    headers = Headers()
    headers._lines = _LINE_END.split("\r\n".join(lines)) if lines else []
    headers._keys = _keys_of(headers._lines)
    return headers


def _unusual_key(name: str, colon: str) -> str:
    """The key of a header field whose name is not written in a usual way."""
    if not colon:
        raise ParseError(f"a header line without a colon: {excerpt(name)} (RFC 3261 §7.3)")
    # HCOLON = *( SP / HTAB ) ":" SWS
    name = name.rstrip(" \t")
    if not is_token(name):
        raise ParseError(f"not a header field name: {excerpt(name)} (RFC 3261 §7.3)")
    return canonical_key(name)


def _join_folded(lines: list[str]) -> list[str]:
    """Join continuation lines to the line that they continue (§7.3.1)."""
    if lines[0][:1] in (" ", "\t"):
        raise ParseError("the start-line cannot be folded (RFC 3261 §7.3.1)")
    return _LINE_END.split("\r\n".join(lines))


def _keys_of(lines: list[str]) -> list[str]:
    keys = []
    for line in lines:
        name, colon, _ = line.partition(":")
        key = _KEYS.get(name)
        if key is None or not colon:
            key = _unusual_key(name, colon)
        keys.append(key)
    return keys


def content_length(text: str) -> int:
    """The value of a Content-Length header field (§20.14): digits and nothing else; ParseError otherwise."""
    if not (text.isascii() and text.isdigit()):
        raise ParseError(f"malformed Content-Length: {excerpt(text)} (RFC 3261 §20.14)")
    digits = text.lstrip("0")
    # No number of 18 digits fits any body; int() of a long one would take more than linear time.
    return int(digits[:18] or "0")


def _check_controls(start: str, lines: list[str]) -> None:
    if _CONTROL.search(start) is not None:
        raise ParseError("a control character in the start-line")
    for line in lines:
        if "\r" in line or "\n" in line:
            raise ParseError("a bare CR or LF (RFC 3261 §7.3.1)")
    for line in _LINE_END.split("\r\n".join(lines)):
        if not _controls_are_quoted(line.replace("\r\n", "")):
            raise ParseError(f"a control character outside a quoted-pair: {excerpt(line)} (RFC 3261 §25.1)")


def _controls_are_quoted(line: str) -> bool:
    """Whether each control character of *line* is part of a quoted-pair, in a quoted-string or in a comment (§25.1)."""
    quoted = escaped = False
    depth = 0
    for character in line:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = quoted or depth > 0
        elif character == '"':
            if not depth:
                quoted = not quoted
        elif not quoted and character == "(":
            depth += 1
        elif not quoted and character == ")":
            depth = max(depth - 1, 0)
        elif (character < " " and character != "\t") or character == "\x7f":
            return False
    return True


def _check_sizes(lines: list[str], keys: list[str], head: bytes, limits: Limits) -> None:
    if len(lines) > limits.headers:
        raise LimitExceeded("too many header fields", 513, "headers")
    if len(head) > limits.header_line:
        for line in lines:
            if len(line.encode("utf-8", "surrogateescape")) > limits.header_line:
                raise LimitExceeded("a header field too long", 513, "header_line")
    values = len(lines) + head.count(b",")  # there can be no more values than that of any header field
    if values > limits.routes or values > limits.record_routes or values > limits.vias:
        _check_depth(lines, keys, "via", limits.vias, 483, "vias")
        _check_depth(lines, keys, "route", limits.routes, 513, "routes")
        _check_depth(lines, keys, "record-route", limits.record_routes, 513, "record_routes")


def _check_depth(lines: list[str], keys: list[str], key: str, bound: int, status: int, name: str) -> None:
    count = 0
    for index, other in enumerate(keys):
        if other == key:
            count += len(split_commas(_value(lines[index])))
    if count > bound:
        raise LimitExceeded(f"too many values of {key}", status, name)


def request_to_answer(data: bytes) -> Request | None:
    """What a response must copy (§8.2.6.2) of a request too broken to be parsed; None if none can or may be sent.

    An ACK is never answered (§17.1), nor is what may have been a response, or has no Via by which to send one
    (§18.2.2).  Header fields that cannot be used, and those that come twice, are left out.
    """
    head = data.lstrip(b"\r\n").partition(b"\r\n\r\n")[0][: DEFAULT_LIMITS.head]
    lines = _LINE_END.split(head.decode("utf-8", "surrogateescape"))
    words = lines[0].split(" ")
    method = words[0]
    if len(words) < 2 or not is_token(method) or method == "ACK":
        return None
    headers = Headers()
    for line in lines[1:]:
        name, _, value = line.partition(":")
        name = name.rstrip(" \t")
        if not is_token(name):
            continue
        key = canonical_key(name)
        if key not in _COPIED or (key != "via" and key in headers._keys) or not value.strip():
            continue
        plain = line.replace("\r\n", "")
        if _CONTROL.search(plain) is not None and not _controls_are_quoted(plain):
            continue
        headers._lines.append(line)
        headers._keys.append(key)
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
        cseq = message.cseq
        via = message.via
        if via.protocol != "SIP/2.0":
            raise ParseError(f"Via of {excerpt(via.protocol)}", 505)
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
