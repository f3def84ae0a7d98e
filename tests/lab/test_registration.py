"""A registration through 401, 423 and stale nonces, kept alive and taken back."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from tests.lab.scenario import Party, check_nothing_left, links, lose, over, request_of, response_to

from switchroom.lab import Lab, Link, SeededIdentifiers
from switchroom.lab.pytest_plugin import OverSeeds
from switchroom.net.endpoint import Endpoint
from switchroom.net.incoming import IncomingRequest
from switchroom.sip.digest import SHA_256, DigestClient, Login, ha1
from switchroom.sip.digest_server import Accepted, Claim, DigestServer, DigestServerSettings
from switchroom.sip.registration import Registered, Registration, RegistrationFailed, RegistrationSettings, Unregistered
from switchroom.sip.uri import parse_uri

REALM, USER, PASSWORD = "example.com", "alice", "secret"
MINIMUM = 120
GRANTED = 150


class Registrar:
    """A registrar for one user (RFC 3261 §10.3), which wants digests and no brief registrations."""

    def __init__(self, lab: Lab, address: str, *, nonce_lifetime: float, algorithm: str) -> None:
        self.lab = lab
        self.endpoint: Endpoint = lab.endpoint(address, ("udp",), name="registrar")
        self.digest = DigestServer(
            REALM,
            b"a key for tests, not for anything else",
            SeededIdentifiers(f"{lab.seed}/nonces"),
            lab.wall,
            settings=DigestServerSettings(algorithms=(algorithm,), nonce_lifetime=nonce_lifetime),
        )
        self.bindings: dict[str, float] = {}
        """Contacts, and the times at which they expire."""
        self.sent: list[int] = []
        self.stale = 0
        self.seen: dict[str, int] = {}
        self.endpoint.on("REGISTER")(self._register)

    @property
    def live(self) -> list[str]:
        """The contacts that are bound now."""
        return [contact for contact, until in self.bindings.items() if until > self.lab.time()]

    def _lookup(self, claim: Claim) -> str | None:
        return ha1(USER, REALM, PASSWORD, claim.algorithm) if claim.username == USER else None

    def _register(self, incoming: IncomingRequest) -> None:
        status, headers = self._decide(incoming)
        self.sent.append(status)
        incoming.respond(status, headers=headers)

    def _decide(self, incoming: IncomingRequest) -> tuple[int, list[tuple[str, str]]]:
        request = incoming.request
        outcome = self.digest.check(request, self._lookup)
        if not isinstance(outcome, Accepted):
            refusal = self.digest.reject(request, outcome)
            challenges = refusal.headers.get_all("WWW-Authenticate")
            self.stale += any("stale=true" in challenge for challenge in challenges)
            return refusal.status, [("WWW-Authenticate", challenge) for challenge in challenges]
        (contact,) = request.contacts
        text = contact.params.get("expires")
        expires = int(text) if text else request.expires or 0
        if 0 < expires < MINIMUM:
            return 423, [("Min-Expires", str(MINIMUM))]
        # §10.3 step 7: of one Call-ID only what has a higher CSeq
        if self.seen.get(request.call_id, 0) >= request.cseq.number:
            return 500, []
        self.seen[request.call_id] = request.cseq.number
        uri = str(contact.uri)
        expires = min(expires, GRANTED)
        self.bindings[uri] = self.lab.time() + expires
        return 200, [("Contact", f"<{bound}>;expires={expires}") for bound in self.live]


async def register(lab: Lab, *, algorithm: str, nonce_lifetime: float, cut: bool) -> None:
    """Alice registers for longer than it would be granted, and stays registered for twenty minutes."""
    alice = Party(lab, "alice", "192.0.2.1")
    registrar = Registrar(lab, "192.0.2.10", nonce_lifetime=nonce_lifetime, algorithm=algorithm)
    settings = RegistrationSettings(
        registrar=parse_uri("sip:192.0.2.10"), aor=alice.aor, contact=alice.agent.contact, expires=60
    )
    login = Login(USER, password=PASSWORD)
    registration = Registration(
        settings, alice.identifiers, authenticator=DigestClient(lambda realm: login, alice.identifiers)
    )
    alice.agent.attach(registration)
    async with alice.endpoint, registrar.endpoint:
        alice.attempt(registration.start)
        bound = 0
        for minute in range(20):
            if cut and minute in (5, 9):
                lab.network.partition({"registrar"}) if minute == 5 else lab.network.heal()
            await asyncio.sleep(60)
            bound += bool(registrar.live)
        alice.attempt(registration.stop)
        await over(lab, alice)
        check_nothing_left("registrar", registrar.endpoint)

    told = [e for e in alice.events if isinstance(e, Registered | RegistrationFailed | Unregistered)]
    assert isinstance(told[-1], Unregistered)
    assert [isinstance(event, Unregistered) for event in told].count(True) == 1
    assert not registration.is_registered
    if told[-1].removed:
        assert registrar.live == []
    if cut:
        assert any(isinstance(event, RegistrationFailed) for event in told)
    if lab.network.link.loss:
        return
    assert 423 in registrar.sent
    assert registrar.sent[0] == 401
    assert (registrar.stale > 0) == (nonce_lifetime < 100)
    assert 403 not in registrar.sent
    assert told[-1].removed
    assert registrar.bindings[str(alice.agent.contact.uri)] <= lab.time()
    if not cut:
        assert bound == 20
        assert not any(isinstance(event, RegistrationFailed) for event in told)
    else:
        assert bound >= 12


@links
@pytest.mark.parametrize("nonce_lifetime", [30.0, 3000.0])
@pytest.mark.parametrize("algorithm", ["MD5", SHA_256])
def test_a_registration(over_seeds: OverSeeds, link: Link, algorithm: str, nonce_lifetime: float) -> None:
    over_seeds(partial(register, algorithm=algorithm, nonce_lifetime=nonce_lifetime, cut=False), link=link)


@links
def test_a_registrar_that_is_cut_off(over_seeds: OverSeeds, link: Link) -> None:
    over_seeds(partial(register, algorithm="MD5", nonce_lifetime=30.0, cut=True), link=link)


def test_lost_answers(over_seeds: OverSeeds) -> None:
    """The registrar's answers are lost at first: the same REGISTER again is no replay, but a retransmission."""

    async def scenario(lab: Lab) -> None:
        lose(lab, response_to("REGISTER", 401, 423, 200), 3)
        lose(lab, request_of("REGISTER"), 2)
        await register(lab, algorithm="MD5", nonce_lifetime=3000.0, cut=False)

    over_seeds(scenario)
