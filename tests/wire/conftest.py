"""Real sockets on loopback, on asyncio's loop and on uvloop; nothing may reach a loop's exception handler."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import itertools
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from switchroom.net import Answer, Certificate, Endpoint, ListenAddress, TlsSettings
from switchroom.sip.errors import TransportError
from switchroom.sip.locating import Srv
from switchroom.sip.message import Request
from switchroom.sip.uri import parse_uri

Main = Callable[[], Coroutine[Any, Any, None]]

try:
    import uvloop

    LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
        "asyncio": asyncio.new_event_loop,
        "uvloop": uvloop.new_event_loop,
    }
except ImportError:
    LOOPS = {"asyncio": asyncio.new_event_loop}


class Runner:
    """Runs a scenario; fails when something reached the loop's exception handler, or a task is left."""

    def __init__(self, factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.factory = factory
        self.name = factory.__module__

    def __call__(self, main: Main, *, debug: bool = True) -> None:
        problems: list[dict[str, Any]] = []

        async def watched() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
            async with asyncio.timeout(20):
                await main()
            await asyncio.sleep(0)  # what was closed last is told so in the next turn
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks left behind: {left}"

        with asyncio.Runner(debug=debug, loop_factory=self.factory) as runner:
            runner.run(watched())
        assert problems == []


@pytest.fixture(params=list(LOOPS))
def run(request: pytest.FixtureRequest) -> Runner:
    return Runner(LOOPS[request.param])


# -- messages --------------------------------------------------------------------------------------------------------

_numbers = itertools.count(1)


def uri_of(address: ListenAddress, scheme: str = "sip", host: str | None = None) -> str:
    shown = host or (f"[{address.host}]" if ":" in address.host else address.host)
    return f"{scheme}:bob@{shown}:{address.port};transport={address.transport.lower()}"


def new_request(method: str, uri: str, body: bytes = b"", **headers: str) -> Request:
    number = next(_numbers)
    lines = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Request.build(
        method,
        parse_uri(uri),
        from_=f"<sip:alice@example.test>;tag=a{number}",
        to="<sip:bob@example.test>",
        call_id=f"call-{number}@example.test",
        cseq=number,
        headers=lines,
        body=body,
        content_type="text/plain" if body else None,
    )


def raw_request(method: str = "OPTIONS", *, branch: str = "", transport: str = "TCP", body: bytes = b"") -> bytes:
    number = next(_numbers)
    return (
        f"{method} sip:bob@example.test SIP/2.0\r\n"
        f"Via: SIP/2.0/{transport} 127.0.0.1:9;branch=z9hG4bK{branch or number};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:alice@example.test>;tag=a{number}\r\nTo: <sip:bob@example.test>\r\n"
        f"Call-ID: raw-{number}\r\nCSeq: {number} {method}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class StaticResolver:
    """A `Resolver` over a dict, with a log of what it was asked."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[Any]] = {}
        self.broken: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def srv(self, name: str, *targets: tuple[int, str, int]) -> None:
        for priority, target, port in targets:
            self.records.setdefault((name, "SRV"), []).append(Srv(priority, 0, port, target))

    def a(self, name: str, *addresses: str) -> None:
        self.records.setdefault((name, "A"), []).extend(addresses)

    async def resolve(self, name: str, kind: str) -> Answer:
        self.asked.append((name, kind))
        await self.gate.wait()
        if name in self.broken:
            raise TransportError("SERVFAIL")
        return Answer(tuple(self.records.get((name, kind), ())), 60.0)


class Wire(NamedTuple):
    """What the tests need to make messages and resolvers."""

    uri: Callable[..., str]
    request: Callable[..., Request]
    raw: Callable[..., bytes]
    resolver: Callable[[], StaticResolver]


@pytest.fixture(scope="session")
def wire() -> Wire:
    return Wire(uri_of, new_request, raw_request, StaticResolver)


# -- certificates ------------------------------------------------------------------------------------------------------


class Authority:
    """A certificate authority whose files live as long as the test session."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._build(self.name, self.key.public_key(), (), -1, 365, ca=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, file: str, *names: str, common_name: str = "test", days: int = 365, password: str | None = None
    ) -> Certificate:
        """A certificate for *names* (`sip:` URIs, addresses, DNS names) in `file`.pem, with its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        start = -1 if days > 0 else days - 10
        certificate = self._build(subject, key.public_key(), names, start, days)
        chain = self.folder / f"{file}.pem"
        chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password is not None:
            protection = serialization.BestAvailableEncryption(password.encode())
        private = self.folder / f"{file}.key"
        private.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
        )
        return Certificate(chain, private, password)

    def settings(self, certificate: Certificate | None = None, **options: Any) -> TlsSettings:
        return TlsSettings(certificate=certificate, trusted=self.file, **options)

    def _build(
        self, subject: x509.Name, key: Any, names: tuple[str, ...], start: int, end: int, *, ca: bool = False
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=start))
            .not_valid_after(now + datetime.timedelta(days=end))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if ca:
            usage = dict.fromkeys(
                ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
                 "decipher_only"), False
            )  # fmt: skip
            signing = x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, **usage)
            builder = builder.add_extension(signing, critical=True)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), False)
        return builder.sign(self.key, hashes.SHA256())


def _general(name: str) -> x509.GeneralName:
    if name.startswith("sip:"):
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "Switchroom test CA")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that nobody trusts."""
    return Authority(tmp_path_factory.mktemp("stranger"), "Stranger")


@pytest.fixture(scope="session")
def loopback_tls(authority: Authority) -> TlsSettings:
    """A certificate for the loopback addresses and for example.test."""
    names = ("sip:example.test", "example.test", "127.0.0.1", "::1")
    return authority.settings(authority.issue("loopback", *names))


@pytest.fixture
def pair(loopback_tls: TlsSettings) -> Callable[..., Endpoint]:
    """Makes endpoints on loopback that know and trust each other's certificate."""

    def make(*listen: str, **options: Any) -> Endpoint:
        options.setdefault("tls", loopback_tls)
        return Endpoint(listen or ("udp:127.0.0.1:0", "tcp:127.0.0.1:0"), **options)

    return make
