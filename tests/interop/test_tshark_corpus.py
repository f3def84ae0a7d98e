"""tshark's opinion of the corpus: what we hold for valid, it dissects without complaint and to the same values."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.corpus.entry import ACCEPTED, request
from tests.corpus.index import CORPUS

from switchroom.sip.grammar import unfold
from switchroom.sip.message import Request, parse

from .conftest import need

VALID = [entry for entry in CORPUS if entry.outcome == ACCEPTED]

# Where the RFC and tshark differ; tshark 4.0 complains of these and of nothing else.
TSHARK_IS_STRICTER = {
    "request-line: version in lower case": "it takes SIP/2.0 in upper case only (RFC 3261 §7.1: any case)",
    "status-line: version in lower case": "the same",
    "request-line: leading CRLFs": "it does not skip them (RFC 3261 §7.5)",
    "header line: control characters in quoted pairs": "to it a NUL is the end of the text (RFC 4475 §3.1.1.2)",
    "body: any octets": "to it a NUL is the end of the text (RFC 3261 §7.4)",
    "body: folded after the number": "it does not unfold Content-Length (RFC 3261 §7.3.1)",
}
FIELDS = ["sip.Method", "sip.Status-Code", "sip.Call-ID", "sip.CSeq", "_ws.malformed", "_ws.expert.message"]
HARMLESS = "Unrecognised SIP header"


def write_pcap(path: Path, payloads: list[bytes]) -> None:
    """A capture file of one UDP datagram per payload, from and to port 5060, at the layer of IPv4 (LINKTYPE_RAW)."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))
        for number, payload in enumerate(payloads):
            udp = struct.pack(">HHHH", 5060, 5060, 8 + len(payload), 0) + payload
            addresses = b"\xc0\0\2\1" + b"\xc0\0\2\2"
            header = struct.pack(">BBHHHBBH8s", 0x45, 0, 20 + len(udp), number, 0, 64, 17, 0, addresses)
            file.write(struct.pack("<IIII", number, 0, 20 + len(udp), 20 + len(udp)) + header + udp)


def dissect(path: Path, payloads: list[bytes]) -> list[dict[str, list[str]]]:
    """The values that tshark has for each of `FIELDS`, per message."""
    tshark = need("tshark")
    write_pcap(path, payloads)
    wanted = [argument for field in FIELDS for argument in ("-e", field)]
    done = subprocess.run([tshark, "-r", path, "-T", "json", *wanted], capture_output=True, check=True, timeout=60)
    frames: list[dict[str, Any]] = json.loads(done.stdout.decode("utf-8", "replace"))
    assert len(frames) == len(payloads)
    return [frame["_source"]["layers"] for frame in frames]


@pytest.mark.interop("tshark")
def test_tshark_reads_the_valid_messages_as_we_do(tmp_path: Path) -> None:
    complaints: dict[str, object] = {}
    for entry, seen in zip(VALID, dissect(tmp_path / "corpus.pcap", [entry.data for entry in VALID]), strict=True):
        message = parse(entry.data)
        kind = (
            ("sip.Method", message.method) if isinstance(message, Request) else ("sip.Status-Code", str(message.status))
        )
        expected = {kind[0]: kind[1], "sip.Call-ID": message.call_id, "sip.CSeq": message.headers.get("CSeq")}
        read = {field: unfold(seen.get(field, [""])[0]) for field in expected}
        errors = [text for text in seen.get("_ws.expert.message", []) if not text.startswith(HARMLESS)]
        if read != expected or errors or "_ws.malformed" in seen:
            complaints[entry.name] = (read, errors)
    assert set(complaints) <= set(TSHARK_IS_STRICTER), complaints


@pytest.mark.interop("tshark")
def test_tshark_would_notice(tmp_path: Path) -> None:
    """What makes the test above worth something: of a broken message tshark does complain."""
    (seen,) = dissect(tmp_path / "bad.pcap", [request(without=("Call-ID",), length=7)])
    assert "sip.Call-ID" not in seen
    (seen,) = dissect(tmp_path / "bad.pcap", [request("OPTIONS sip:a SIP/2.0", "Content-Length: many", length=None)])
    assert seen["_ws.expert.message"]


def test_the_differences_are_still_in_the_corpus() -> None:
    assert set(TSHARK_IS_STRICTER) <= {entry.name for entry in VALID}
