"""The torture messages of RFC 4475 and RFC 5118: what their parsing and framing comes to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import pytest

from switchroom.sip.errors import RemoteProtocolError
from switchroom.sip.framing import StreamFramer
from switchroom.sip.headers import CONTACT, SUBJECT
from switchroom.sip.message import Request, parse, validate
from switchroom.sip.multipart import body_parts
from switchroom.sip.uri import SipUri, Uri

FOLDER = Path(os.environ.get("SWITCHROOM_TESTDATA", "../shared/data")) / "torture"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no {FOLDER}: set SWITCHROOM_TESTDATA")


class Outcome(NamedTuple):
    """What parsing and framing owe: None stands for "accepted"."""

    status: int | None
    stream: str = "message"
    """What a stream makes of it: "message", "closed" or "waits"."""


# Where the outcome of INDEX.tsv is one of a registrar, a proxy or a UAS, the message itself is accepted.
OUTCOMES = {
    "wsinv": Outcome(None),
    "intmeth": Outcome(None),
    "esc01": Outcome(None),
    "escnull": Outcome(None),
    "dblreq": Outcome(None),
    "mpart01": Outcome(None),
    "clerr": Outcome(400, "waits"),
    "ncl": Outcome(400, "closed"),
    "scalar02": Outcome(400),
    "ltgtruri": Outcome(400),
    "badvers": Outcome(505),
    "mismatch02": Outcome(501),
    "bext01": Outcome(None),
    "regaut01": Outcome(None),
    "zeromf": Outcome(None),
    "cparam01": Outcome(None),
    "cparam02": Outcome(None),
    "sdp01": Outcome(None),
    "ipv6-good": Outcome(None),
    "ipv6-bad": Outcome(400),
    "port-ambiguous": Outcome(None),
    "ipv6-in-sdp": Outcome(None),
}
STREAMED = [name for name in OUTCOMES if name != "dblreq"]


def read(name: str) -> bytes:
    """The octets of one message."""
    (path,) = FOLDER.glob(f"*/{name}.dat")
    return path.read_bytes()


def accept(name: str) -> Request:
    """The message, which must be a valid request."""
    message = parse(read(name))
    validate(message)
    assert isinstance(message, Request)
    return message


def sip(uri: Uri) -> SipUri:
    """*uri*, which must be a SIP URI."""
    assert isinstance(uri, SipUri)
    return uri


def test_every_message_has_its_outcome_here() -> None:
    assert {path.stem for path in FOLDER.glob("*/*.dat")} == set(OUTCOMES)


@pytest.mark.parametrize("name", OUTCOMES)
def test_datagram(name: str) -> None:
    expected = OUTCOMES[name].status
    if expected is None:
        request = accept(name)
        assert read(name).startswith(request.encode())
        return

    def receive() -> None:
        validate(parse(read(name)))

    with pytest.raises(RemoteProtocolError) as caught:
        receive()
    assert caught.value.status_hint == expected
    assert caught.value.request is not None
    response = parse(caught.value.request.create_response(expected, to_tag="x").encode())
    assert response.call_id.startswith(name) or name == "ipv6-bad"


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize("name", STREAMED)
def test_stream(name: str, step: int) -> None:
    data = read(name)
    framer = StreamFramer()
    items = []
    owed = None
    try:
        for start in range(0, len(data), step):
            framer.feed(data[start : start + step])
            while (item := framer.next()) is not None:
                items.append(item)
    except RemoteProtocolError as error:
        owed = error.status_hint
    assert owed == (OUTCOMES[name].status if framer.dead else None)
    result = "closed" if framer.dead else "message" if items == [data] else "waits"
    assert result == OUTCOMES[name].stream
    assert framer.pending == (len(data) if result == "waits" else 0)


def test_wsinv_spacing_and_folding() -> None:
    request = accept("wsinv")
    assert request.max_forwards == 68
    assert tuple(request.cseq) == (9, "INVITE")
    assert request.to.tag == "1918181833n"
    assert request.from_.display_name == 'J Rosenberg \\"'
    assert request.from_.tag == "98asjd8"
    assert [via.branch for via in request.vias] == ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"]
    assert [via.sent_by for via in request.vias] == ["192.0.2.2", "spindle.example.com", "192.168.255.111"]
    assert request.headers.get("unknownheaderwithunusualvalue") == ";;,,;;,;"
    assert request.headers.get("NewFangledHeader") == "newfangled value continued newfangled value"
    assert request.headers.one(SUBJECT) == ""
    (contact,) = request.contacts
    assert contact.display_name == 'Quoted string ""'
    assert contact.params.items() == [("newparam", "newvalue"), ("secondparam", ""), ("q", "0.33")]
    assert len(request.body) == 150


def test_intmeth_method_and_controls() -> None:
    request = accept("intmeth")
    assert request.method == "!interesting-Method0123456789_*+`.%indeed'~" == request.cseq.method
    assert request.to.display_name == "BEL:\x07 NUL:\x00 DEL:\x7f"
    assert request.max_forwards == 255
    assert request.headers.get("extensionHeader-!.%*+_`'~") == "\ufeff大停電"


def test_escapes_decode_once() -> None:
    request = accept("esc01")
    assert sip(request.uri).user == "sips:user@example.com"
    assert sip(request.to.uri).user == "user"
    assert sip(request.from_.uri).user == "I have spaces"
    (contact,) = request.contacts
    assert sip(contact.uri).params.get("lr") == ""
    assert sip(contact.uri).params.get("name") == "value%41"


def test_a_nul_does_not_end_a_user() -> None:
    request = accept("escnull")
    assert sip(request.to.uri).user == "null-\x00-null"
    assert [sip(contact.uri).user for contact in request.contacts] == ["\x00", "\x00\x00"]
    assert request.contacts[0].uri != request.contacts[1].uri


def test_octets_after_a_datagram_are_dropped() -> None:
    request = accept("dblreq")
    assert request.method == "REGISTER"
    assert request.body == b""
    assert b"INVITE" not in request.encode()


def test_binary_part() -> None:
    request = accept("mpart01")
    assert len(request.body) == 553
    text, signature = body_parts(request)
    assert text.content_type is not None
    assert (text.content_type.essence, text.content) == ("text/plain", b"Hello")
    assert signature.content_type is not None
    assert signature.content_type.essence == "application/octet-stream"
    assert b"\x00" in signature.content
    assert signature.content in read("mpart01")


def test_where_a_parameter_belongs() -> None:
    outside = accept("cparam01").headers.all(CONTACT)[0]
    inside = accept("cparam02").headers.all(CONTACT)[0]
    assert ("unknownparam" in outside.params, "unknownparam" in sip(outside.uri).params) == (True, False)
    assert ("unknownparam" in inside.params, "unknownparam" in sip(inside.uri).params) == (False, True)


def test_an_address_that_looks_like_a_port() -> None:
    uri = sip(accept("port-ambiguous").uri)
    assert (uri.host, uri.port) == ("2001:db8::10:5070", None)


def test_option_tags_and_hops_are_left_to_the_roles() -> None:
    request = accept("bext01")
    assert request.require == ("nothingSupportsThis", "nothingSupportsThisEither")
    assert request.proxy_require == ("noProxiesSupportThis", "norDoAnyProxiesSupportThis")
    assert accept("zeromf").max_forwards == 0
