"""Bodies of several parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchroom.sip.errors import LimitExceeded, LocalProtocolError, ParseError, RemoteProtocolError
from switchroom.sip.headers import CONTENT_DISPOSITION, MediaType, parse_media_type
from switchroom.sip.limits import DEFAULT_LIMITS
from switchroom.sip.message import Request, parse
from switchroom.sip.multipart import BodyPart, body_parts, build_multipart, parse_multipart

MIXED = parse_media_type("multipart/mixed;boundary=b")


def contents(body: bytes, content_type: MediaType = MIXED) -> list[bytes]:
    """The contents of the parts."""
    return [part.content for part in parse_multipart(body, content_type)]


def essence(part: BodyPart) -> str | None:
    """The type of a part."""
    return None if part.content_type is None else part.content_type.essence


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"--b\r\n\r\none\r\n--b--", [b"one"]),
        (b"--b\r\n\r\none\r\n--b--\r\n", [b"one"]),
        (b"--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n", [b"one", b"two"]),
        (b"preamble\r\n--b\r\n\r\none\r\n--b--\r\nepilogue\r\n--b\r\n", [b"one"]),
        (b"\r\n--b\r\n\r\none\r\n--b--", [b"one"]),
        (b"--b \t \r\n\r\none\r\n--b-- \r\n", [b"one"]),
        (b"--b\r\n\r\none\r\n\r\n--b--", [b"one\r\n"]),
        (b"--b\r\n\r\n\r\n--b--", [b""]),
        (b"--b\r\n--b--", [b""]),
        (b"--b\r\n--b\r\n\r\n--b--", [b"", b""]),
        (b"--b\r\nContent-Type: a/b\r\n--b--", [b""]),
        (b"--b\r\nContent-Type: a/b\r\n\r\n--b--", [b""]),
        (b"--b\r\nContent-Type: a/b\r\n\r\n\r\n--b--", [b""]),
        (b"--b\r\n\r\none\r\n--bb\r\n--b\n\r\n --b--\r\n--b--", [b"one\r\n--bb\r\n--b\n\r\n --b--"]),
        (b"--b\r\n\r\n\x00\xff\n\r--b--\r\n--b--", [b"\x00\xff\n\r--b--"]),
        (b"--b\r\n\r\none\r\n--b--x\r\n--b--", [b"one\r\n--b--x"]),
    ],
)
def test_parts(body: bytes, expected: list[bytes]) -> None:
    assert contents(body) == expected


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "closing delimiter"),
        (b"--b", "closing delimiter"),
        (b"--b\r\n\r\none", "closing delimiter"),
        (b"--b\r\n\r\none\r\n--b\r\n", "closing delimiter"),
        (b"--b\n\none\n--b--", "closing delimiter"),
        (b"--c\r\n\r\none\r\n--c--", "closing delimiter"),
        (b"--b--\r\n", "without a part"),
        (b"--b\r\nno colon\r\n\r\none\r\n--b--", "without a colon"),
        (b"--b\r\nContent-Type: \x00/b\r\n\r\none\r\n--b--", "control character"),
        (b"--b\r\n folded\r\n\r\none\r\n--b--", "continuation"),
        (b"--b\r\nContent-Type: nothing\r\n\r\none\r\n--b--", "media type"),
    ],
)
def test_malformed(body: bytes, text: str) -> None:
    with pytest.raises(ParseError, match=text):
        parse_multipart(body, MIXED)


@pytest.mark.parametrize("params", ["", ';boundary=""', f";boundary={'b' * 71}", ';boundary="b "', ';boundary="b\\"c"'])
def test_malformed_boundary(params: str) -> None:
    with pytest.raises(ParseError, match="boundary"):
        parse_multipart(b"--b\r\n\r\n\r\n--b--", parse_media_type("multipart/mixed" + params))


def test_a_quoted_boundary_of_all_characters() -> None:
    boundary = "a'()+_,-./:=? 0"
    body = b"--a'()+_,-./:=? 0\r\n\r\none\r\n--a'()+_,-./:=? 0--"
    assert contents(body, parse_media_type(f'multipart/mixed;boundary="{boundary}"')) == [b"one"]


def test_headers_of_a_part() -> None:
    (part,) = parse_multipart(
        b"--b\r\nCONTENT-type:\r\n application/sdp\r\n"
        b"Content-Disposition: session;handling=optional\r\n\r\nv=0\r\n\r\n--b--",
        MIXED,
    )
    assert essence(part) == "application/sdp"
    disposition = part.headers.one(CONTENT_DISPOSITION)
    assert disposition is not None
    assert (disposition.kind, disposition.handling) == ("session", "optional")
    assert part.encode().startswith(b"CONTENT-type:\r\n application/sdp\r\n")
    assert "application/sdp" in repr(part)


def nested(depth: int) -> BodyPart:
    """A part of this many multipart levels around one text."""
    part = BodyPart.build("text/plain", b"deep")
    for level in range(depth):
        content_type, content = build_multipart([part], "alternative", boundary=f"level{level}")
        part = BodyPart.build(content_type, content)
    return part


def test_nested() -> None:
    outer = nested(DEFAULT_LIMITS.body_depth)
    assert outer.content_type is not None
    parts = parse_multipart(outer.content, outer.content_type)
    assert [leaf.content for part in parts for leaf in part.walk()] == [b"deep"]
    assert len(parts[0].parts) == 1


def test_nested_too_deep() -> None:
    outer = nested(DEFAULT_LIMITS.body_depth + 1)
    assert outer.content_type is not None
    with pytest.raises(LimitExceeded) as caught:
        parse_multipart(outer.content, outer.content_type)
    assert (caught.value.limit_name, caught.value.status_hint) == ("body_depth", 413)


def test_too_many_parts() -> None:
    parts = [BodyPart.build("text/plain", b"x")] * 3
    content_type, body = build_multipart(parts)
    limits = DEFAULT_LIMITS._replace(body_parts=3)
    assert len(parse_multipart(body, parse_media_type(content_type), limits=limits)) == 3
    with pytest.raises(LimitExceeded) as caught:
        parse_multipart(body, parse_media_type(content_type), limits=limits._replace(body_parts=2))
    assert (caught.value.limit_name, caught.value.status_hint) == ("body_parts", 413)


def test_build() -> None:
    parts = [
        BodyPart.build("application/sdp", b"v=0\r\n", [("Content-Disposition", "session")]),
        BodyPart.build(MediaType("application", "isup"), b"\x00\x01", [("Content-ID", "<1@example.com>")]),
    ]
    content_type, body = build_multipart(parts, "related", boundary="a b")
    assert content_type == 'multipart/related;boundary="a b"'
    assert body == (
        b"--a b\r\nContent-Type: application/sdp\r\nContent-Disposition: session\r\n\r\nv=0\r\n\r\n"
        b"--a b\r\nContent-Type: application/isup\r\nContent-ID: <1@example.com>\r\n\r\n\x00\x01\r\n--a b--\r\n"
    )
    read = parse_multipart(body, parse_media_type(content_type))
    assert [part.encode() for part in read] == [part.encode() for part in parts]


def test_a_boundary_is_made_that_no_part_contains() -> None:
    parts = [BodyPart.build("text/plain", b"--boundary-0\r\n--boundary-1")]
    content_type, body = build_multipart(parts)
    assert content_type == "multipart/mixed;boundary=boundary-2"
    assert contents(body, parse_media_type(content_type)) == [parts[0].content]


def test_what_cannot_be_built() -> None:
    part = BodyPart.build("text/plain", b"--taken")
    with pytest.raises(LocalProtocolError, match="needs a part"):
        build_multipart([])
    with pytest.raises(LocalProtocolError, match="not a boundary"):
        build_multipart([part], boundary="a ")
    with pytest.raises(LocalProtocolError, match="contains the boundary"):
        build_multipart([part], boundary="taken")
    with pytest.raises(LocalProtocolError):
        BodyPart.build("text/plain\r\nX: y", b"")


def message(body: bytes, content_type: str | None) -> Request:
    """A MESSAGE with this body."""
    return Request.build(
        "MESSAGE",
        "sip:bob@example.com",
        from_="<sip:alice@example.com>;tag=1",
        to="<sip:bob@example.com>",
        call_id="c",
        cseq=1,
        headers=[("Content-Disposition", "render"), ("Subject", "x")],
        body=body,
        content_type=content_type,
    )


def test_the_parts_of_a_message() -> None:
    content_type, body = build_multipart([nested(1), BodyPart.build("a/b", b"c")])
    assert [part.content for part in body_parts(message(body, content_type))] == [b"deep", b"c"]


def test_a_body_of_another_type_is_one_part() -> None:
    (part,) = body_parts(message(b"hello", "text/plain"))
    assert (essence(part), part.content) == ("text/plain", b"hello")
    assert dict(part.headers) == {"Content-Type": "text/plain", "Content-Disposition": "render"}
    data = message(b"hello", "text/plain").encode().replace(b"Content-Type", b"c")
    (part,) = body_parts(parse(data))
    assert essence(part) == "text/plain"


def test_a_body_of_no_type_and_no_body() -> None:
    (part,) = body_parts(message(b"hello", None))
    assert essence(part) is None
    assert body_parts(message(b"", "multipart/mixed")) == ()


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5))
def test_round_trip(octets: list[bytes]) -> None:
    content_type, body = build_multipart([BodyPart.build("a/b", content) for content in octets])
    assert contents(body, parse_media_type(content_type)) == octets


@given(
    st.lists(st.sampled_from([b"--b", b"--", b"\r\n", b"b", b"\n", b"a: b", b"Content-Type: multipart/x;boundary=b"]))
)
def test_any_octets(pieces: list[bytes]) -> None:
    try:
        parts = parse_multipart(b"".join(pieces), MIXED)
    except RemoteProtocolError:
        return
    assert parts
