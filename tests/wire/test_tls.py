"""TLS: identities (RFC 5922), client certificates, SNI, reload, and what each failure says."""

from __future__ import annotations

import asyncio
import resource
import shutil
import socket
import ssl
from typing import Any

import pytest

from switchroom.net import Certificate, Endpoint, IncomingRequest, TlsSettings, TransportLimits
from switchroom.sip.errors import TransportError
from switchroom.sip.flow import Flow

LISTEN = "tls:127.0.0.1:0"


def answering(endpoint: Endpoint) -> list[Flow]:
    """Answer OPTIONS; the flows that they came on."""
    flows: list[Flow] = []

    @endpoint.on("OPTIONS")
    def answer(incoming: IncomingRequest) -> None:
        flows.append(incoming.flow)
        incoming.respond(200)

    return flows


async def domain_of(wire: Any, endpoint: Endpoint, domain: str = "example.test") -> tuple[Any, str]:
    """A resolver that leads *domain* to the endpoint, and the URI to ask for."""
    resolver = wire.resolver()
    resolver.a(domain, "127.0.0.1")
    return resolver, wire.uri(endpoint.listeners[0], host=domain)


def test_the_certificate_must_stand_for_the_domain_that_was_asked_for(run: Any, wire: Any, authority: Any) -> None:
    """RFC 5922 §7.3: the domain of the URI, not what DNS made of it; a wildcard is none."""

    async def main() -> None:
        wildcard = authority.settings(authority.issue("wildcard", "*.example.test", "other.test"))
        called = Endpoint([LISTEN], tls=wildcard)
        flows = answering(called)
        async with called:
            resolver, uri = await domain_of(wire, called, "sip.example.test")
            async with Endpoint(tls=authority.settings(), resolver=resolver) as caller:
                with pytest.raises(TransportError, match=r"stands for \*\.example\.test, other\.test, not for sip"):
                    await caller.request(wire.request("OPTIONS", uri))
                assert caller.counters["identity_failures"] == 1
                assert flows == []

    run(main)


def test_a_sip_uri_in_the_certificate_is_the_domain(run: Any, wire: Any, authority: Any) -> None:
    async def main() -> None:
        called = Endpoint([LISTEN], tls=authority.settings(authority.issue("domain", "sip:example.test", "host.test")))
        answering(called)
        async with called:
            resolver, uri = await domain_of(wire, called)
            async with Endpoint(tls=authority.settings(), resolver=resolver) as caller:
                assert (await caller.request(wire.request("OPTIONS", uri))).status == 200

    run(main)


def test_untrusted_and_expired_certificates_are_refused_with_the_remedy(
    run: Any, wire: Any, authority: Any, stranger: Any
) -> None:
    async def main() -> None:
        cases = [
            (stranger.settings(stranger.issue("untrusted", "127.0.0.1")), "issuer of the peer's certificate"),
            (authority.settings(authority.issue("expired", "127.0.0.1", days=-1)), "has expired"),
        ]
        for settings, text in cases:
            called = Endpoint([LISTEN], tls=settings)
            flows = answering(called)
            async with called, Endpoint(tls=authority.settings()) as caller:
                with pytest.raises(TransportError, match=text):
                    await caller.request(wire.request("OPTIONS", wire.uri(called.listeners[0])))
                assert flows == []

    run(main)


def test_verification_can_be_switched_off(run: Any, wire: Any, stranger: Any) -> None:
    async def main() -> None:
        called = Endpoint([LISTEN], tls=stranger.settings(stranger.issue("unverified", "elsewhere.test")))
        answering(called)
        async with called, Endpoint(tls=TlsSettings(verify_servers=False)) as caller:
            assert (await caller.request(wire.request("OPTIONS", wire.uri(called.listeners[0])))).status == 200

    run(main)


def test_clients_show_certificates_when_they_are_required(run: Any, wire: Any, authority: Any, stranger: Any) -> None:
    async def main() -> None:
        server = authority.settings(authority.issue("mutual", "127.0.0.1"), clients="require")
        called = Endpoint([LISTEN], tls=server)
        flows = answering(called)
        async with called:
            uri = wire.uri(called.listeners[0])
            known = authority.settings(authority.issue("client", "sip:client.test"))
            async with Endpoint(tls=known) as caller:
                assert (await caller.request(wire.request("OPTIONS", uri))).status == 200
            assert flows[0].peer_names == ("client.test",)
            for settings in (
                authority.settings(),
                TlsSettings(certificate=stranger.issue("impostor", "sip:client.test"), trusted=authority.file),
            ):
                async with Endpoint(tls=settings) as caller:
                    with pytest.raises(TransportError):
                        await caller.request(wire.request("OPTIONS", uri))
            assert len(flows) == 1
            assert called.counters["handshake_failures"] == 2

    run(main)


def test_the_server_name_chooses_the_certificate(run: Any, wire: Any, authority: Any) -> None:
    async def main() -> None:
        names = {name: authority.issue(name, f"sip:{name}") for name in ("one.test", "two.test")}
        called = Endpoint([LISTEN], tls=authority.settings(authority.issue("default", "127.0.0.1"), names=names))
        answering(called)
        resolver = wire.resolver()
        async with called, Endpoint(tls=authority.settings(), resolver=resolver) as caller:
            for name in names:
                resolver.a(name, "127.0.0.1")
                uri = wire.uri(called.listeners[0], host=name)
                assert (await caller.request(wire.request("OPTIONS", uri))).status == 200
            assert caller.connections == 2  # one address, two identities: never shared
            assert (await caller.request(wire.request("OPTIONS", wire.uri(called.listeners[0])))).status == 200

    run(main)


def test_certificates_are_reloaded_without_dropping_connections(run: Any, wire: Any, authority: Any) -> None:
    async def main() -> None:
        old, new = authority.issue("old", "127.0.0.1"), authority.issue("new", "127.0.0.1", "sip:new.test")
        live = Certificate(authority.folder / "live.pem", authority.folder / "live.key")

        def put(certificate: Certificate) -> None:
            shutil.copy(certificate.chain, live.chain)
            shutil.copy(str(certificate.private_key), str(live.private_key))

        put(old)
        called = Endpoint([LISTEN], tls=authority.settings(live))
        flows = answering(called)
        async with called, Endpoint(tls=authority.settings()) as first:
            uri = wire.uri(called.listeners[0])
            assert (await first.request(wire.request("OPTIONS", uri))).status == 200
            put(new)
            called.reload_certificates()
            async with Endpoint(tls=authority.settings()) as second:
                seen: list[Flow] = []
                second.tap.subscribe(lambda record: seen.append(record.flow))
                assert (await second.request(wire.request("OPTIONS", uri))).status == 200
                assert seen[0].peer_names == ("new.test", "127.0.0.1")
            assert (await first.request(wire.request("OPTIONS", uri))).status == 200
            assert flows[2].connection == flows[0].connection
            (authority.folder / "live.pem").write_text("no certificate")
            with pytest.raises(TransportError, match=r"cannot use the certificate in .*live\.pem"):
                called.reload_certificates()
            async with Endpoint(tls=authority.settings()) as third:  # what there was is kept
                assert (await third.request(wire.request("OPTIONS", uri))).status == 200

    run(main)


def test_an_alias_lets_requests_back_over_a_verified_clients_connection(run: Any, wire: Any, authority: Any) -> None:
    """RFC 5923 §5: `alias` in the Via, and a certificate that stands for the domain."""

    async def main() -> None:
        server = authority.settings(authority.issue("alias-server", "127.0.0.1"), clients="require")
        context = ssl.create_default_context(cafile=str(authority.file))
        context.check_hostname = False
        client = authority.issue("alias-client", "sip:client.test")
        context.load_cert_chain(client.chain, client.private_key)
        resolver = wire.resolver()
        resolver.a("client.test", "127.0.0.1")
        called = Endpoint([LISTEN], tls=server, resolver=resolver)
        answering(called)
        async with called:
            port = called.listeners[0].port
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="x.test")
            request = (
                wire.raw(transport="TLS").replace(b";rport", b";alias").replace(b"127.0.0.1:9;", b"127.0.0.1:7061;")
            )
            writer.write(request)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"SIP/2.0 200")
            back = asyncio.create_task(called.request(wire.request("OPTIONS", "sip:client.test:7061;transport=tls")))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"OPTIONS sip:client.test:7061")
            lines = [
                line
                for line in head.split(b"\r\n")
                if line.split(b":")[0] in (b"Via", b"From", b"To", b"Call-ID", b"CSeq")
            ]
            writer.write(b"\r\n".join([b"SIP/2.0 200 OK", *lines, b"Content-Length: 0", b"", b""]))
            assert (await back).status == 200
            # One place for each connection: with a new one it gives up the old one.
            again = wire.raw(transport="TLS").replace(b";rport", b";alias").replace(b"127.0.0.1:9;", b"127.0.0.1:7062;")
            writer.write(again)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"SIP/2.0 200")
            with pytest.raises(TransportError, match="nothing listens"):
                await called.request(wire.request("OPTIONS", "sip:client.test:7061;transport=tls"))
            writer.close()
            await writer.wait_closed()

    run(main)


def test_plain_text_on_a_tls_port_and_tls_on_a_plain_port(run: Any, wire: Any, authority: Any, caplog: Any) -> None:
    async def main() -> None:
        settings = authority.settings(authority.issue("mixed", "127.0.0.1"))
        called = Endpoint([LISTEN, "tcp:127.0.0.1:0"], tls=settings)
        answering(called)
        async with called, Endpoint(tls=authority.settings()) as caller:
            secure, plain = called.listeners
            with pytest.raises(TransportError):
                await caller.request(wire.request("OPTIONS", f"sip:bob@127.0.0.1:{secure.port};transport=tcp"))
            with pytest.raises(TransportError, match="cannot connect to TLS"):
                await caller.request(wire.request("OPTIONS", f"sip:bob@127.0.0.1:{plain.port};transport=tls"))
            assert called.counters["handshake_failures"] == 1
            for address in called.listeners:
                assert (await caller.request(wire.request("OPTIONS", wire.uri(address)))).status == 200

    run(main)


def test_a_client_that_never_finishes_the_handshake_is_dropped_and_counts_meanwhile(
    run: Any, wire: Any, authority: Any
) -> None:
    async def main() -> None:
        limits = TransportLimits(handshake_timeout=0.2, connections_per_source=2)
        called = Endpoint([LISTEN], tls=authority.settings(authority.issue("slow", "127.0.0.1")), limits=limits)
        async with called:
            port = called.listeners[0].port
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            for reader, _ in silent:
                async with asyncio.timeout(5):
                    assert await reader.read() == b""
            assert called.counters["handshake_timeouts"] == 2
            assert called.counters["refused_connections_per_source"] == 1
            assert called.connections == 0
            for _, writer in silent:
                writer.close()

    run(main)


def test_a_tls_listener_without_certificate_says_what_it_needs(run: Any) -> None:
    async def main() -> None:
        with pytest.raises(TransportError, match="needs a certificate"):
            await Endpoint([LISTEN]).start()

    run(main)


def test_a_key_with_a_password(run: Any, wire: Any, authority: Any) -> None:
    async def main() -> None:
        locked = authority.issue("locked", "127.0.0.1", password="secret")
        called = Endpoint([LISTEN], tls=authority.settings(locked))
        answering(called)
        async with called, Endpoint(tls=authority.settings()) as caller:
            assert (await caller.request(wire.request("OPTIONS", wire.uri(called.listeners[0])))).status == 200
        for password in ("wrong", None):
            wrong = Certificate(locked.chain, locked.private_key, password)
            with pytest.raises(TransportError, match="cannot use the certificate"):
                Endpoint([LISTEN], tls=authority.settings(wrong))

    run(main)


@pytest.mark.parametrize("transport", ["tcp", "tls", "wss"])
def test_out_of_files_is_no_end_of_accepting(run: Any, wire: Any, authority: Any, caplog: Any, transport: str) -> None:
    async def main() -> None:
        called = Endpoint([f"{transport}:127.0.0.1:0"], tls=authority.settings(authority.issue("files", "127.0.0.1")))
        answering(called)
        async with called, Endpoint(tls=authority.settings()) as caller:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            client = socket.socket()
            client.setblocking(False)
            resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, hard))
            try:
                await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", called.listeners[0].port))
                while called.counters.get("accept_failures", 0) < 2:  # noqa: ASYNC110 — nothing else tells
                    await asyncio.sleep(0)
                assert called.connections == 0
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            client.close()
            assert (await caller.request(wire.request("OPTIONS", wire.uri(called.listeners[0])))).status == 200
        lines = [each.getMessage() for each in caplog.records if "cannot accept" in each.getMessage()]
        assert lines == ["cannot accept a connection: too many open files: raise the limit of open files (ulimit -n)"]

    run(main)
