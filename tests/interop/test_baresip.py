"""Our user agent and baresip call each other over TLS, with certificates of a test authority."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import math
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from switchroom.net import Certificate, TlsSettings
from switchroom.sip.headers import Address
from switchroom.sip.session_events import (
    EndReason,
    IncomingSession,
    SessionAnswered,
    SessionConfirmed,
    SessionEnded,
)
from switchroom.sip.uri import parse_uri

from .agent import SDP, running_agent
from .conftest import PeerProcess, free_port

pytestmark = pytest.mark.interop("baresip")

CONFIG = """\
poll_method epoll
sip_listen 127.0.0.1:{port}
sip_certificate {certificate}
sip_cafile {authority}
audio_source aufile,{folder}/tone.wav
audio_player aufile,{folder}/heard.wav
audio_alert aufile,{folder}/alert.wav
module_path {modules}
module stdio.so
module g711.so
module aufile.so
module_app account.so
module_app menu.so
"""


def make_authority(folder: Path) -> tuple[Path, Path]:
    """A root certificate, and one for 127.0.0.1 with its key in the same file."""
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)

    def builder(name: str) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")]))
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
        )

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = (
        builder("Test authority")
        .public_key(root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        builder("127.0.0.1")
        .public_key(key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    authority, certificate = folder / "authority.pem", folder / "certificate.pem"
    pem = serialization.Encoding.PEM
    authority.write_bytes(root.public_bytes(pem))
    certificate.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()) + leaf.public_bytes(pem)
    )
    return authority, certificate


class Baresip:
    """A baresip with one account, reached over TLS."""

    def __init__(self, peer: PeerProcess, tls_port: int) -> None:
        self.peer = peer
        self.uri = f"sip:bob@127.0.0.1:{tls_port};transport=tls"


@pytest.fixture
async def baresip(tmp_path: Path, start_peer: Callable[..., Any]) -> Baresip:
    authority, certificate = make_authority(tmp_path)
    port = free_port(2)  # baresip takes the one after it for TLS
    folder = tmp_path / "baresip"
    folder.mkdir()
    modules = "/usr/lib/baresip/modules"
    with wave.open(str(folder / "tone.wav"), "wb") as tone:
        tone.setparams((1, 2, 8000, 0, "NONE", ""))
        for n in range(8000 * 10):
            tone.writeframesraw(int(8000 * math.sin(2 * math.pi * 440 * n / 8000)).to_bytes(2, "little", signed=True))
    (folder / "config").write_text(
        CONFIG.format(port=port, certificate=certificate, authority=authority, folder=folder, modules=modules)
    )
    account = f"<sip:bob@127.0.0.1:{port + 1};transport=tls>;regint=0;answermode=auto\n"
    (folder / "accounts").write_text(account)
    (folder / "contacts").write_text("\n")
    peer = await start_peer(["baresip", "-f", str(folder)])
    await peer.printed("baresip is ready", 10)
    return Baresip(peer, port + 1)


def tls_settings(folder: Path) -> TlsSettings:
    return TlsSettings(certificate=Certificate(folder / "certificate.pem"), trusted=folder / "authority.pem")


class Sink(asyncio.DatagramProtocol):
    """Counts the RTP that arrives."""

    def __init__(self) -> None:
        self.port = 0
        self.packets: list[bytes] = []
        self.enough = asyncio.Event()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.packets.append(data)
        if len(self.packets) == 5:
            self.enough.set()


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    loop = asyncio.get_running_loop()
    transport, sink = await loop.create_datagram_endpoint(Sink, local_addr=("127.0.0.1", 0))
    sink.port = transport.get_extra_info("sockname")[1]
    yield sink
    transport.close()


async def test_we_call_baresip_over_tls(baresip: Baresip, tmp_path: Path, sink: Sink) -> None:
    async with running_agent("tls", tls=tls_settings(tmp_path)) as agent:
        session = agent.do(
            agent.core.invite,
            agent.now,
            baresip.uri,
            from_=Address("", parse_uri(f"sip:switchroom@{agent.address}")),
            body=SDP.format(port=sink.port).encode(),
        )
        answer = await agent.expect(SessionAnswered)
        assert answer.response.status == 200
        async with asyncio.timeout(10):
            await sink.enough.wait()
        assert {packet[1] & 0x7F for packet in sink.packets} == {0}  # PCMU, as we offered
        agent.do(session.hang_up, agent.now)
        assert (await agent.expect(SessionEnded)).reason is EndReason.LOCAL_BYE
        await baresip.peer.printed("session closed", 10)


async def test_baresip_calls_us_over_tls(baresip: Baresip, tmp_path: Path, sink: Sink) -> None:
    async with running_agent("tls", tls=tls_settings(tmp_path)) as agent:
        baresip.peer.write(f"/dial sip:switchroom@{agent.address}")
        incoming = await agent.expect(IncomingSession)
        assert incoming.request.via.transport.upper() == "TLS"
        agent.do(incoming.session.progress, agent.now, 180)
        agent.do(incoming.session.answer, agent.now, SDP.format(port=sink.port).encode())
        await agent.expect(SessionConfirmed)
        async with asyncio.timeout(10):
            await sink.enough.wait()
        baresip.peer.write("/hangup")
        assert (await agent.expect(SessionEnded)).reason is EndReason.REMOTE_BYE


async def test_baresip_cancels_its_call(baresip: Baresip, tmp_path: Path) -> None:
    async with running_agent("tls", tls=tls_settings(tmp_path)) as agent:
        baresip.peer.write(f"/dial sip:switchroom@{agent.address}")
        incoming = await agent.expect(IncomingSession)
        agent.do(incoming.session.progress, agent.now, 180)
        await baresip.peer.printed("180", 10)
        baresip.peer.write("/hangup")
        assert (await agent.expect(SessionEnded)).reason is EndReason.REMOTE_CANCEL
