"""Digest with real peers: sipsak registers with us, and we register with Kamailio."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from switchroom.net import SystemIdentifiers
from switchroom.sip.digest import DigestClient, Login, ha1
from switchroom.sip.digest_server import WRONG, Accepted, ChallengeNeeded, DigestServer, DigestServerSettings, Refused
from switchroom.sip.headers import Address
from switchroom.sip.registration import (
    Registered,
    Registration,
    RegistrationFailed,
    RegistrationSettings,
    Unregistered,
)
from switchroom.sip.session_events import IncomingRequest
from switchroom.sip.uri import parse_uri

from .agent import Agent, running_agent
from .conftest import free_port

KAMAILIO = """\
#!KAMAILIO
log_stderror=yes
children=1
listen=udp:127.0.0.1:{port}
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
modparam("auth", "nonce_expire", 1)
modparam("auth", "nonce_count", 1)
modparam("auth", "algorithm", "{algorithm}")
modparam("usrloc", "db_mode", 0)
modparam("registrar", "min_expires", 4)
request_route {{
    if (!pv_auth_check("$td", "secret", "0", "0")) {{
        auth_challenge("$td", "{qop}");
        exit;
    }}
    save("location");
}}
"""


@pytest.mark.interop("sipsak")
@pytest.mark.parametrize("qops", [("auth",), ("auth", "auth-int"), ()])
@pytest.mark.parametrize("password", ["secret", "wrong"])
async def test_sipsak_authenticates(start_peer: Any, qops: tuple[str, ...], password: str) -> None:
    settings = DigestServerSettings(qops=qops)
    server = DigestServer("127.0.0.1", os.urandom(32), SystemIdentifiers(), time.time, settings=settings)
    async with running_agent("udp") as agent:
        peer = await start_peer(
            ["sipsak", "-U", "-vv", "-s", f"sip:alice@{agent.address}", "-u", "alice", "-a", password, "-x", "60"]
        )
        outcomes = []
        for _ in range(2):
            incoming = await agent.expect(IncomingRequest)
            request = incoming.request
            outcome = server.check(request, lambda claim: ha1("alice", "127.0.0.1", "secret", claim.algorithm))
            outcomes.append(outcome)
            if isinstance(outcome, Accepted):
                contacts = [("Contact", f"{text};expires=60") for text in request.headers.get_all("Contact")]
                agent.do(agent.core.respond, incoming, 200, headers=contacts)
            else:
                agent.do(agent.core.respond, incoming, 401, headers=server.challenges())
        code = await peer.finished(10)
    assert outcomes == [ChallengeNeeded(), Accepted("alice") if password == "secret" else Refused(WRONG)]
    assert (code == 0) == (password == "secret"), peer.output


async def register(agent: Agent, port: int, password: str) -> Registration:
    uri = parse_uri("sip:alice@127.0.0.1")
    registrar = parse_uri(f"sip:127.0.0.1:{port}")
    # until it listens we are refused, and come back
    settings = RegistrationSettings(
        registrar, Address("", uri), agent.core.contact, expires=4, base_time_all_failed=0.1
    )
    ids = SystemIdentifiers()
    login = DigestClient(lambda realm: Login("alice", password), ids)
    registration = Registration(settings, ids, authenticator=login)
    agent.do(agent.core.attach, registration)
    agent.do(registration.start, agent.now)
    return registration


@pytest.mark.interop("kamailio")
@pytest.mark.parametrize(("algorithm", "qop"), [("MD5", "0"), ("MD5", "1"), ("SHA-256", "1")])
async def test_kamailio_lets_us_in(start_peer: Any, tmp_path: Path, algorithm: str, qop: str) -> None:
    """With the next refresh the nonce has expired: stale, and a second round."""
    if shutil.which("kamailio") is None:
        pytest.skip("kamailio is not installed")
    port = free_port()
    config = tmp_path / "kamailio.cfg"
    config.write_text(KAMAILIO.format(port=port, algorithm=algorithm, qop=qop))
    peer = await start_peer(
        ["kamailio", "-DD", "-E", "-f", str(config), "-m", "64", "-M", "8", "-w", str(tmp_path), "-Y", str(tmp_path)]
    )
    async with running_agent("udp") as agent:
        registration = await register(agent, port, "secret")
        for _ in range(2):
            assert (await agent.expect(Registered)).expires == 4, peer.output
        agent.do(registration.stop, agent.now)
        assert (await agent.expect(Unregistered)).removed
        await register(agent, port, "wrong")
        failed = await agent.expect(RegistrationFailed)
        assert (failed.status, failed.retry_at) == (401, None)
