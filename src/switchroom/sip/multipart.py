"""Bodies of several parts (RFC 2046 §5.1, in SIP: RFC 3261 §7.4 and RFC 5621).

Octets are never changed: a part may hold any, NUL included, and what was read is rendered as it came.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from .errors import LimitExceeded, LocalProtocolError, ParseError
from .grammar import excerpt, is_token, quote
from .header_lines import HeaderItems, Headers, parse_headers
from .headers import CONTENT_TYPE, MediaType
from .limits import DEFAULT_LIMITS, Limits
from .message import Message

# boundary := 0*69<bchars> bcharsnospace (RFC 2046 §5.1.1)
_BOUNDARY: Final = re.compile(r"[-0-9A-Za-z'()+_,./:=? ]{0,69}[-0-9A-Za-z'()+_,./:=?]")


class BodyPart:
    """One part: its MIME header, its content, and the parts of that if it is a multipart body itself."""

    __slots__ = ("content", "headers", "parts")

    def __init__(self, headers: Headers, content: bytes, parts: tuple[BodyPart, ...] = ()) -> None:
        self.headers = headers
        self.content = content
        self.parts = parts

    @classmethod
    def build(cls, content_type: MediaType | str, content: bytes, headers: HeaderItems = ()) -> BodyPart:
        """A part of this type; *headers* are (name, value) pairs, as Content-Disposition and Content-ID."""
        fields = Headers(headers)
        fields.add(CONTENT_TYPE, content_type, first=True)
        return cls(fields, content)

    @property
    def content_type(self) -> MediaType | None:
        """The type; None, which stands for text/plain (RFC 2046 §5.1), if the part names none."""
        return self.headers.one(CONTENT_TYPE)

    def encode(self) -> bytes:
        """The part as it stands between two delimiters."""
        lines = "".join([line + "\r\n" for line in self.headers._lines])
        return lines.encode("utf-8", "surrogateescape") + b"\r\n" + self.content

    def walk(self) -> Iterator[BodyPart]:
        """The leaves: this part or, if it is multipart, those of its parts, in order."""
        if not self.parts:
            return iter([self])
        return iter([leaf for part in self.parts for leaf in part.walk()])

    def __repr__(self) -> str:
        return f"<BodyPart {self.headers.get(CONTENT_TYPE)!r} of {len(self.content)} octets>"


def body_parts(message: Message, *, limits: Limits = DEFAULT_LIMITS) -> tuple[BodyPart, ...]:
    """The leaves of a message's body: of a multipart body its parts, of any other the one; none if it is empty.

    Which of them matter, and how, is a question of type and disposition (RFC 5621 §3).  Raises as `parse_multipart`.
    """
    if not message.body:
        return ()
    content_type = message.content_type
    if content_type is None or content_type.type.lower() != "multipart":
        headers = Headers([(name, value) for name, value in message.headers if name.lower().startswith("content-")])
        if content_type is not None:
            headers.set(CONTENT_TYPE, content_type)
        headers.remove("Content-Length")
        return (BodyPart(headers, message.body),)
    parts = parse_multipart(message.body, content_type, limits=limits)
    return tuple([leaf for part in parts for leaf in part.walk()])


def parse_multipart(body: bytes, content_type: MediaType, *, limits: Limits = DEFAULT_LIMITS) -> tuple[BodyPart, ...]:
    """The parts of a multipart body; preamble and epilogue are dropped (RFC 2046 §5.1.1).

    ParseError for a boundary that is missing or malformed, delimiters that are missing, or a part's header that is
    malformed; LimitExceeded for too many parts (`body_parts`) or levels (`body_depth`).
    """
    return _parse_level(body, content_type, limits, 1, [0])


def _parse_level(
    body: bytes, content_type: MediaType, limits: Limits, depth: int, count: list[int]
) -> tuple[BodyPart, ...]:
    if depth > limits.body_depth:
        raise LimitExceeded("multipart bodies nested too deep", 413, "body_depth")
    boundary = content_type.params.get("boundary")
    if boundary is None:
        raise ParseError("multipart without a boundary (RFC 2046 §5.1.1)")
    if _BOUNDARY.fullmatch(boundary) is None:
        raise ParseError(f"malformed boundary: {excerpt(boundary)} (RFC 2046 §5.1.1)")
    parts = []
    for raw in _split(body, b"--" + boundary.encode("ascii")):
        count[0] += 1
        if count[0] > limits.body_parts:
            raise LimitExceeded("too many body parts", 413, "body_parts")
        part = _parse_part(raw)
        inner = part.content_type
        if inner is not None and inner.type.lower() == "multipart":
            part.parts = _parse_level(part.content, inner, limits, depth + 1, count)
        parts.append(part)
    return tuple(parts)


def _split(body: bytes, dashes: bytes) -> list[bytes]:
    """What stands between the delimiters."""
    parts: list[bytes] = []
    begin = -1  # where the part begins; -1 in the preamble
    position = 0 if body.startswith(dashes) else body.find(b"\r\n" + dashes)
    while position >= 0:
        # delimiter := CRLF "--" boundary; the first may do without the CRLF.  The line's own CRLF is left, for it may
        # belong to the next delimiter.
        after = position + len(dashes) + (2 if body[position : position + 2] == b"\r\n" else 0)
        line_end = body.find(b"\r\n", after)
        rest = body[after : line_end if line_end >= 0 else len(body)]
        closes = rest[:2] == b"--"
        padding = rest[2:] if closes else rest
        if not padding.strip(b" \t") and (closes or line_end >= 0):
            if begin >= 0:
                # An empty part has its one CRLF in common with the delimiter after it.
                parts.append(body[begin:position])
            if closes:
                if not parts:
                    raise ParseError("multipart without a part (RFC 2046 §5.1.1)")
                return parts
            begin = line_end + 2
        position = body.find(b"\r\n" + dashes, line_end) if line_end >= 0 else -1
    raise ParseError("multipart without its closing delimiter (RFC 2046 §5.1.1)")


def _parse_part(raw: bytes) -> BodyPart:
    # body-part := MIME-part-headers [CRLF *OCTET]
    if raw[:2] == b"\r\n":
        return BodyPart(Headers(), raw[2:])
    head, _, content = raw.partition(b"\r\n\r\n")
    if not content and head[-2:] == b"\r\n":
        head = head[:-2]
    return BodyPart(parse_headers(head), content)


def build_multipart(
    parts: Sequence[BodyPart], subtype: str = "mixed", *, boundary: str | None = None
) -> tuple[str, bytes]:
    """(Content-Type, body) of a multipart body: what `Request.build` and `create_response` take.

    Without a *boundary* one is made that no part contains.  LocalProtocolError if there is no part, or for a boundary
    that cannot be used.
    """
    if not parts:
        raise LocalProtocolError("a multipart body needs a part (RFC 2046 §5.1.1)")
    encoded = [part.encode() for part in parts]
    if boundary is None:
        boundary = _unused_boundary(encoded)
    elif _BOUNDARY.fullmatch(boundary) is None:
        raise LocalProtocolError(f"not a boundary: {excerpt(boundary)} (RFC 2046 §5.1.1)")
    dashes = b"--" + boundary.encode("ascii")
    if any(dashes in part for part in encoded):
        raise LocalProtocolError(f"a part contains the boundary {excerpt(boundary)}")
    body = b"".join([dashes + b"\r\n" + part + b"\r\n" for part in encoded]) + dashes + b"--\r\n"
    return f"multipart/{subtype};boundary={boundary if is_token(boundary) else quote(boundary)}", body


def _unused_boundary(encoded: Iterable[bytes]) -> str:
    """A boundary that stands in none of *encoded*; always the same for the same parts, as nothing here is random."""
    whole = b"\r\n".join(encoded)
    number = 0
    while b"--boundary-%d" % number in whole:
        number += 1
    return f"boundary-{number}"
