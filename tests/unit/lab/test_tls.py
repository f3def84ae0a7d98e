"""TLS without cryptography: identities, and what is wrong with them."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest
from tests.unit.lab.conftest import StreamRecorder

from switchroom.lab import EPOCH, Certificate, Lab, LabError, Link, TlsContext
from switchroom.net.tls import peer_identities

ALICE, BOB = "192.0.2.1", "192.0.2.2"
EXAMPLE = Certificate(("example.com", "sip:example.com", "192.0.2.2"), "example.com")
CLIENT = Certificate(("sip:alice.example",))


@pytest.fixture(autouse=True)
def hosts(lab: Lab) -> None:
    lab.host("alice", ALICE)
    lab.host("bob", BOB)
    lab.dns.a("example.com", BOB)


def server_context(*certificates: Certificate, clients: ssl.VerifyMode = ssl.CERT_NONE) -> TlsContext:
    return TlsContext(*(certificates or (EXAMPLE,)), verify_mode=clients)


async def listen(lab: Lab, context: object, **options: Any) -> tuple[Any, list[StreamRecorder]]:
    accepted: list[StreamRecorder] = []

    def accept() -> StreamRecorder:
        accepted.append(StreamRecorder(lab))
        return accepted[-1]

    return await lab.loop.create_server(accept, BOB, 5061, ssl=context, **options), accepted


async def connect(lab: Lab, context: object, **options: Any) -> StreamRecorder:
    with lab.network.hosts["alice"]:
        _, client = await lab.loop.create_connection(
            lambda: StreamRecorder(lab), "example.com", 5061, ssl=context, **options
        )
    return client  # type: ignore[return-value]


async def test_each_side_learns_who_the_other_is(lab: Lab) -> None:
    server, accepted = await listen(lab, server_context(clients=ssl.CERT_REQUIRED))
    client = await connect(lab, TlsContext(CLIENT, check_hostname=True))
    await asyncio.sleep(1)
    assert peer_identities(client.transport.get_extra_info("peercert")) == ("example.com", "192.0.2.2")
    assert peer_identities(accepted[0].transport.get_extra_info("peercert")) == ("alice.example",)
    info = accepted[0].transport.get_extra_info("ssl_object")
    assert (info.server_side, info.server_name, info.server_hostname) == (True, "example.com", None)
    assert client.transport.get_extra_info("ssl_object").server_hostname == "example.com"
    assert client.transport.get_extra_info("cipher") == ("LAB_PLAINTEXT", "TLSv1.3", 0)
    assert client.transport.get_extra_info("ssl_object").version() == "TLSv1.3"
    assert client.transport.get_extra_info("ssl_object").selected_alpn_protocol() is None
    assert client.transport.get_extra_info("ssl_object").compression() is None
    client.transport.write(b"secret")
    accepted[0].transport.write(b"answer")
    await asyncio.sleep(1)
    assert (accepted[0].data, client.data) == (b"secret", b"answer")
    assert [passage.transport for passage in lab.trace.passages] == ["TLS", "TLS"]
    server.close()


async def test_the_handshake_takes_three_round_trips(lab: Lab) -> None:
    """One for TCP, two for TLS: nobody may have counted on less."""
    server, accepted = await listen(lab, server_context())
    client = await connect(lab, TlsContext())
    assert client.opened_at == pytest.approx(0.06)
    assert accepted[0].opened_at == pytest.approx(0.05)
    server.close()


@pytest.mark.parametrize("seed", range(10))
def test_the_handshake_survives_loss(seed: int) -> None:
    async def main(lab: Lab) -> None:
        lab.host("alice", ALICE)
        lab.host("bob", BOB)
        lab.dns.a("example.com", BOB)
        server, accepted = await listen(lab, server_context(clients=ssl.CERT_REQUIRED))
        client = await connect(lab, TlsContext(CLIENT))
        client.transport.write(b"x")
        await asyncio.sleep(60)
        assert accepted[0].data == b"x"
        server.close()

    with Lab(seed, link=Link(loss=0.3, reordering=0.3)) as lab:
        lab.run(main(lab))


@pytest.mark.parametrize(
    ("certificate", "context", "words", "code"),
    [
        (Certificate(("example.com",), not_after=EPOCH - 1), TlsContext(), "certificate has expired", 10),
        (Certificate(("example.com",), not_before=EPOCH + 60), TlsContext(), "certificate is not yet valid", 9),
        (Certificate(("example.com",), issuer="Unknown"), TlsContext(), "unable to get local issuer", 20),
        (EXAMPLE, TlsContext(trusts=()), "unable to get local issuer", 20),
        (Certificate(("other.example",)), TlsContext(check_hostname=True), "Hostname mismatch", 62),
    ],
)
async def test_what_a_client_refuses(
    lab: Lab, certificate: Certificate, context: TlsContext, words: str, code: int
) -> None:
    server, accepted = await listen(lab, server_context(certificate))
    with pytest.raises(ssl.SSLCertVerificationError, match=words) as caught:
        await connect(lab, context)
    assert caught.value.verify_code == code
    await asyncio.sleep(1)
    assert accepted == []
    assert lab.network.hosts["bob"].connections == {}
    server.close()


async def test_what_was_valid_expires_by_the_wall_clock(lab: Lab) -> None:
    server, _ = await listen(lab, server_context())
    (await connect(lab, TlsContext())).transport.abort()
    lab.clock.step(400 * 86400.0)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        await connect(lab, TlsContext())
    server.close()


@pytest.mark.parametrize("certificate", [None, Certificate(("sip:alice.example",), issuer="Unknown")])
async def test_what_a_server_refuses(lab: Lab, certificate: Certificate | None) -> None:
    server, accepted = await listen(lab, server_context(clients=ssl.CERT_REQUIRED))
    context = TlsContext(certificate) if certificate else TlsContext()
    with pytest.raises(ConnectionResetError, match="ended the TLS handshake"):
        await connect(lab, context)
    assert accepted == []
    server.close()


async def test_an_optional_certificate(lab: Lab) -> None:
    server, accepted = await listen(lab, server_context(clients=ssl.CERT_OPTIONAL))
    client = await connect(lab, TlsContext())
    assert accepted[0].transport.get_extra_info("peercert") is None
    assert accepted[0].transport.get_extra_info("ssl_object").getpeercert() is None
    client.transport.abort()
    server.close()


async def test_what_is_not_verified_is_not_shown(lab: Lab) -> None:
    server, accepted = await listen(lab, server_context())
    client = await connect(lab, TlsContext(CLIENT, verify_mode=ssl.CERT_NONE))
    await asyncio.sleep(1)
    assert client.transport.get_extra_info("peercert") == {}
    assert accepted[0].transport.get_extra_info("peercert") == {}
    with pytest.raises(LabError, match="no binary form"):
        client.transport.get_extra_info("ssl_object").getpeercert(True)
    server.close()


async def test_the_server_chooses_by_the_name_asked_for(lab: Lab) -> None:
    other = Certificate(("*.other.example",))
    server, _ = await listen(lab, server_context(EXAMPLE, other))
    for name, expected in (
        ("example.com", "example.com"),
        ("a.other.example", "*.other.example"),
        ("x.y", "example.com"),
    ):
        client = await connect(lab, TlsContext(), server_hostname=name)
        assert client.transport.get_extra_info("peercert")["subjectAltName"][0] == ("DNS", expected)
        client.transport.abort()
    server.close()


async def test_a_plain_client_is_reset(lab: Lab) -> None:
    server, accepted = await listen(lab, server_context())
    client = await connect(lab, None)
    client.transport.write(b"OPTIONS sip:x SIP/2.0\r\n")
    await client.gone.wait()
    assert isinstance(client.error, ConnectionResetError)
    assert accepted == []
    server.close()


async def test_a_plain_server_reads_a_tls_record(lab: Lab) -> None:
    server, accepted = await listen(lab, None)
    with pytest.raises(ConnectionAbortedError, match="too long"):
        await connect(lab, TlsContext())
    assert accepted[0].data[:3] == b"\x16\x03\x01"
    server.close()


async def test_a_client_that_says_nothing_is_dropped(lab: Lab) -> None:
    """The TCP connection alone does not keep a TLS listener busy for ever."""
    server, _ = await listen(lab, server_context(), ssl_handshake_timeout=5.0)
    lab.network.partition({"alice"}, {"bob"}, both_ways=False)
    lab.loop.call_later(0.015, lab.network.heal)
    attempt = asyncio.create_task(connect(lab, TlsContext()))
    await asyncio.sleep(0.025)
    lab.network.partition({"alice"}, {"bob"}, both_ways=False)
    await asyncio.sleep(30)
    assert lab.network.hosts["bob"].connections == {}
    attempt.cancel()
    with pytest.raises((asyncio.CancelledError, OSError)):
        await attempt
    server.close()


async def test_tls_has_no_half_closed_streams(lab: Lab) -> None:
    server, accepted = await listen(lab, server_context())
    client = await connect(lab, TlsContext())
    assert not client.transport.can_write_eof()
    with pytest.raises(NotImplementedError):
        client.transport.write_eof()
    accepted[0].eof_received = lambda: True  # type: ignore[method-assign]
    client.transport.close()
    await accepted[0].gone.wait()
    assert accepted[0].error is None
    server.close()


async def test_real_contexts_are_refused(lab: Lab) -> None:
    with pytest.raises(LabError, match="no cryptography"):
        await listen(lab, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


async def test_true_means_a_client_that_checks_everything(lab: Lab) -> None:
    server, _ = await listen(lab, server_context(Certificate(("other.example",))))
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        await connect(lab, True)
    server.close()


def test_a_certificate_as_ssl_shows_it() -> None:
    shown = Certificate(
        ("example.com", "*.example.com", "sip:example.com", "192.0.2.2", "2001:db8::2", "urn:x:y"),
        "example.com",
        not_before=EPOCH + 4 * 86400,
        not_after=EPOCH + 400 * 86400 + 3661,
    ).as_dict()
    assert shown == {
        "subject": ((("commonName", "example.com"),),),
        "issuer": ((("commonName", "Switchroom Lab CA"),),),
        "version": 3,
        "serialNumber": "01",
        "notBefore": "Jan  5 00:00:00 2026 GMT",
        "notAfter": "Feb  5 01:01:01 2027 GMT",
        "subjectAltName": (
            ("DNS", "example.com"), ("DNS", "*.example.com"), ("URI", "sip:example.com"), ("IP Address", "192.0.2.2"),
            ("IP Address", "2001:db8::2"), ("URI", "urn:x:y"),
        ),
    }  # fmt: skip
    assert ssl.cert_time_to_seconds(shown["notBefore"]) == EPOCH + 4 * 86400
    assert "subjectAltName" not in Certificate().as_dict()


@pytest.mark.parametrize(
    ("name", "host", "matches"),
    [
        ("example.com", "EXAMPLE.com", True),
        ("example.com", "a.example.com", False),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "a.b.example.com", False),
        ("*.example.com", "example.com", False),
    ],
)
def test_wildcards(name: str, host: str, matches: bool) -> None:
    assert Certificate((name,)).matches(host) is matches
