"""Parsing one INVITE, and encoding it after one change: microseconds each, beside the other Python SIP stacks.

Every contestant gets the same 900 bytes with 14 header fields, calls the function that its own transport calls, and
must tell Via (transport, host, port, branch) and CSeq (number, method).  For those that keep either as text, the
reading that its users must do is part of the figure.  Encoding is what a proxy does at least: set Max-Forwards and
write the message again.
"""

from __future__ import annotations

import asyncio
import collections
import collections.abc
import json
import logging
import sys
import types
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import report

from switchroom.sip.message import Request, parse

BODY = (
    b"v=0\r\no=alice 2890844526 2890844526 IN IP4 client.atlanta.example.com\r\ns=-\r\n"
    b"c=IN IP4 192.0.2.101\r\nt=0 0\r\nm=audio 49172 RTP/AVP 0 8 101\r\n"
    b"a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
)
INVITE = (
    b"INVITE sip:bob@biloxi.example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP client.atlanta.example.com:5060;branch=z9hG4bK74bf9;rport\r\n"
    b"Max-Forwards: 70\r\n"
    b"From: Alice <sip:alice@atlanta.example.com>;tag=9fxced76sl\r\n"
    b"To: Bob <sip:bob@biloxi.example.com>\r\n"
    b"Call-ID: 3848276298220188511@atlanta.example.com\r\n"
    b"CSeq: 20 INVITE\r\n"
    b"Contact: <sip:alice@client.atlanta.example.com>\r\n"
    b"Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO\r\n"
    b"Supported: replaces, timer, 100rel\r\n"
    b"User-Agent: Atlanta Softphone/4.2.1\r\n"
    b"Session-Expires: 1800\r\n"
    b"Organization: Atlanta Example, Inc. @@\r\n"
    b"Content-Type: application/sdp\r\n"
    b"Content-Length: " + str(len(BODY)).encode() + b"\r\n\r\n" + BODY
)
INVITE = INVITE.replace(b"@@", b"x" * (900 - len(INVITE) + 2))
VALUES = ("UDP", "client.atlanta.example.com", 5060, "z9hG4bK74bf9", 20, "INVITE")


class Contestant(NamedTuple):
    """A SIP stack: `split` parses; `typed` parses and tells `VALUES`; `encode` changes Max-Forwards and writes."""

    name: str
    split: Callable[[], object]
    typed: Callable[[], tuple[object, ...]]
    encode: Callable[[], object] | None
    note: str = ""
    yields: bool = True
    """Whether its own code tells both header fields as values."""


def ours() -> Contestant:
    """Switchroom."""

    def split() -> object:
        return parse(INVITE)

    def typed() -> tuple[object, ...]:
        message = parse(INVITE)
        via = message.via
        cseq = message.cseq
        return (via.transport, via.host, via.port, via.branch, cseq.number, cseq.method)

    message = parse(INVITE)
    assert isinstance(message, Request)
    headers = message.headers

    def encode() -> object:
        headers.set("Max-Forwards", "69")
        return message.encode()

    return Contestant("switchroom", split, typed, encode)


def sippy() -> Contestant:
    """sippy: SipTransactionManager.incomingDatagram() decodes the datagram and makes a SipRequest of it."""
    from sippy.SipRequest import SipRequest

    def split() -> object:
        return SipRequest(INVITE.decode())

    def typed() -> tuple[object, ...]:
        message = SipRequest(INVITE.decode())
        via = message.getHFBody("via")
        number, method = message.getHFBody("cseq").getCSeq()
        return (via.transport, via.hostname, via.port, via.getBranch(), number, method)

    message = SipRequest(INVITE.decode())
    forwards = message.getHFBody("max-forwards")

    def encode() -> object:
        forwards.number = 69
        return str(message).encode()

    return Contestant("sippy", split, typed, encode)


def aiosip() -> Contestant:
    """aiosip: UDP.datagram_received() calls Message.from_raw_message(); Via stays text, CSeq of a request too."""
    note = "leaves Via and CSeq as text: split here as simply as can be"
    try:
        import aiosip.message as module
    except (AttributeError, ImportError) as error:
        # Written for Python 3.5: it uses names that have since gone from the standard library.
        for name in [each for each in sys.modules if each.partition(".")[0] == "aiosip"]:
            del sys.modules[name]
        asyncio.coroutine = types.coroutine  # type: ignore[attr-defined]
        collections.MutableMapping = collections.abc.MutableMapping  # type: ignore[attr-defined]
        import aiosip.message as module

        reason = str(error).partition(" (")[0]
        note = f"does not import ({reason}); asyncio.coroutine and collections.MutableMapping put back; {note}"
    asyncio.set_event_loop(asyncio.new_event_loop())  # a Request makes a Future
    message_class = module.Message

    def split() -> object:
        return message_class.from_raw_message(INVITE.decode())

    def typed() -> tuple[object, ...]:
        headers = message_class.from_raw_message(INVITE.decode()).headers
        sent, _, params = headers["Via"].partition(";")
        protocol, _, sent_by = sent.partition(" ")
        host, _, port = sent_by.partition(":")
        branch = dict(each.partition("=")[::2] for each in params.split(";"))["branch"]
        number, _, method = headers["CSeq"].partition(" ")
        return (protocol.rpartition("/")[2], host, int(port), branch, int(number), method)

    message = message_class.from_raw_message(INVITE.decode())

    def encode() -> object:
        message.headers["Max-Forwards"] = "69"
        return str(message).encode()

    return Contestant("aiosip", split, typed, encode, note, yields=False)


def pyvoip() -> Contestant:
    """pyVoIP: SIPClient.recv() makes a SIPMessage of the datagram; it cannot write one again."""
    import pyVoIP.VoIP  # noqa: F401  # its modules import each other in a circle that works from here only
    from pyVoIP.SIP import SIPMessage

    def split() -> object:
        return SIPMessage(INVITE)

    def typed() -> tuple[object, ...]:
        headers = SIPMessage(INVITE).headers
        via = headers["Via"][0]
        cseq = headers["CSeq"]
        host, port = via["address"]
        return (via["type"].rpartition("/")[2], host, int(port), via["branch"], int(cseq["check"]), cseq["method"])

    return Contestant("pyVoIP", split, typed, None, "parses the session description as well; cannot encode")


def aiosipua() -> Contestant:
    """aiosipua: UdpSipTransport.datagram_received() calls SipMessage.parse()."""
    from aiosipua import SipMessage

    logging.getLogger("aiosipua").setLevel(logging.ERROR)

    def split() -> object:
        return SipMessage.parse(INVITE)

    def typed() -> tuple[object, ...]:
        message = SipMessage.parse(INVITE)
        via = message.via[0]
        cseq = message.cseq
        return (via.transport, via.host, via.port, via.branch, cseq.seq, cseq.method)

    message = SipMessage.parse(INVITE)

    def encode() -> object:
        message.set_header("Max-Forwards", "69")
        return bytes(message)

    return Contestant("aiosipua", split, typed, encode)


PEERS = {"sippy": sippy, "aiosip": aiosip, "pyVoIP": pyvoip, "aiosipua": aiosipua}


def gather() -> tuple[list[Contestant], dict[str, str]]:
    """The contestants that work, and for each peer its version, or why it does not."""
    contestants = [ours()]
    peers: dict[str, str] = {}
    stamp = Path(sys.prefix) / "ready.json"
    failures = json.loads(stamp.read_text())["failures"] if stamp.exists() else {}
    for name, make in PEERS.items():
        try:
            contestant = make()
            values = contestant.typed()
            assert values == VALUES, f"reads {values}"
            peers[name] = version(name)
            contestants.append(contestant)
        except Exception as error:  # whatever is wrong with a peer is told, and does not end the run
            reason = failures.get(name) or f"{type(error).__name__}: {error}"
            try:
                peers[name] = f"{version(name)}: {reason}"
            except PackageNotFoundError:
                peers[name] = reason
            print(f"{name} is left out: {peers[name]}")
    assert contestants[0].typed() == VALUES
    return contestants, peers


def main() -> None:
    """Print the table, and keep it."""
    warnings.simplefilter("ignore")
    assert len(INVITE) == 900
    assert INVITE.partition(b"\r\n\r\n")[0].count(b"\r\n") == 14
    contestants, peers = gather()
    calls: dict[str, Callable[[], object]] = {}
    for each in contestants:
        calls[f"{each.name} split"] = each.split
        calls[f"{each.name} typed"] = each.typed
        if each.encode is not None:
            calls[f"{each.name} encode"] = each.encode
    timings = report.interleave(calls)
    figures: dict[str, Any] = {}
    print("\n900-byte INVITE, 14 header fields; µs of the best round (median); ×: against switchroom")
    print(f"{'':12}{'parse':>24}{'parse, Via, CSeq':>24}{'encode':>24}")
    for each in contestants:
        row: dict[str, Any] = {"note": each.note} if each.note else {}
        cells = ""
        for kind in ("split", "typed", "encode"):
            timing = timings.get(f"{each.name} {kind}")
            if timing is None:
                cells += f"{'-':>24}"
                continue
            ratio = timing.best / timings[f"switchroom {kind}"].best
            row[kind] = {"best": round(timing.best, 2), "median": round(timing.median, 2), "ratio": round(ratio, 2)}
            cells += f"{timing.best:10.2f} ({timing.median:5.1f}) ×{ratio:4.1f}"
        print(f"{each.name:12}{cells}" + (f"   {each.note}" if each.note else ""))
        figures[each.name] = row
    print()
    for label, rivals in (
        ("that yields the same values", [each for each in contestants[1:] if each.yields]),
        ("of all", contestants[1:]),
    ):
        fastest = min(rivals, key=lambda each: timings[f"{each.name} typed"].best, default=None)
        if fastest is not None:
            share = timings["switchroom typed"].best / timings[f"{fastest.name} typed"].best
            figures[f"share of the fastest peer {label}"] = {"peer": fastest.name, "share": round(share, 2)}
            print(f"{share:.2f} of the time of the fastest peer {label}, {fastest.name} (aim: at most 0.50)")
    report.keep("parse", {"unit": "µs", "figures": figures}, peers, final="--final" in sys.argv)


if __name__ == "__main__":
    main()
