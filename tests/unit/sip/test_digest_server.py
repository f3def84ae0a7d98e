"""The challenging side of digest: fresh, stale, replayed, forged."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchroom.sip.digest import MD5, SHA_256, DigestClient, Login, ha1, userhash
from switchroom.sip.digest_server import (
    ALGORITHM,
    MALFORMED,
    OTHER_URI,
    QOP,
    REPLAY,
    WRONG,
    Accepted,
    ChallengeNeeded,
    Claim,
    DigestServer,
    DigestServerSettings,
    Refused,
    _Use,
)
from switchroom.sip.errors import LocalProtocolError
from switchroom.sip.headers import AUTHORIZATION, PROXY_AUTHENTICATE, WWW_AUTHENTICATE
from switchroom.sip.message import Request

STALE = ChallengeNeeded(stale=True)
KEY = b"k" * 32


class Counter:
    """Identifiers that count."""

    def __init__(self) -> None:
        self.count = 0

    def token(self, bits: int = 64) -> str:
        self.count += 1
        return f"c{self.count}"

    def random(self) -> float:
        return 0.5


class Wall:
    """The time of day, set by the test."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def __call__(self) -> float:
        return self.time


class Scene:
    """A server, and a client that knows alice's password."""

    def __init__(self, *, proxy: bool = False, password: str = "secret", username: str = "alice", **more: Any) -> None:
        self.wall = Wall()
        self.server = self.new_server(proxy=proxy, **more)
        self.wall.time += 1
        self.client = DigestClient({"r": Login(username, password)}.get, Counter())

    def new_server(self, key: bytes = KEY, proxy: bool = False, **more: Any) -> DigestServer:
        return DigestServer("r", key, Counter(), self.wall, proxy=proxy, settings=DigestServerSettings(**more))

    def request(self, method: str = "REGISTER", body: bytes = b"") -> Request:
        return Request.build(
            method,
            "sip:example.com",
            from_="<sip:alice@example.com>;tag=a",
            to="<sip:alice@example.com>",
            call_id="1",
            cseq=1,
            body=body,
        )

    def lookup(self, claim: Claim) -> str | None:
        return ha1("alice", "r", "secret", claim.algorithm) if claim.username == "alice" else None

    def check(self, request: Request) -> object:
        return self.server.check(request, self.lookup)

    def signed(self, request: Request | None = None) -> Request:
        """A request that answers a challenge of the server."""
        request = request or self.request()
        lines = self.client.answer(request, self.server.challenge(request))
        return self.with_lines(request, lines)

    def again(self, before: Request) -> Request:
        """The same nonce, with the next count."""
        self.client.learn(before, before.create_response(200))
        return self.with_lines(self.request(), self.client.credentials(self.request()))

    def with_lines(self, request: Request, lines: tuple[tuple[str, str], ...]) -> Request:
        request = request.copy()
        for name, value in lines:
            request.headers.add(name, value)
        return request

    def altered(self, request: Request, name: str, value: str | None) -> Request:
        """The same credentials with another value of one parameter, or without it."""
        request = request.copy()
        (credentials,) = request.headers.all(AUTHORIZATION)
        params = credentials.params
        params = params.without(name) if value is None else params.with_(name, value)
        request.headers.set("Authorization", credentials._replace(params=params))
        return request


class TestChallenge:
    def test_what_it_says(self) -> None:
        scene = Scene(algorithms=(SHA_256, MD5), qops=("auth", "auth-int"), userhash=True)
        response = scene.server.challenge(scene.request())
        assert response.status == 401
        first, second = response.headers.all(WWW_AUTHENTICATE)
        assert (first.get("algorithm"), second.get("algorithm")) == (SHA_256, MD5)
        assert first.get("qop") == "auth,auth-int"
        assert first.get("realm") == "r"
        assert first.get("userhash") == "true"
        assert first.get("stale") is None
        assert first.get("nonce") == second.get("nonce")

    def test_of_a_proxy(self) -> None:
        scene = Scene(proxy=True)
        response = scene.server.challenge(scene.request(), stale=True)
        assert response.status == 407
        assert response.headers.all(PROXY_AUTHENTICATE)[0].get("stale") == "true"
        assert scene.check(scene.signed()) == Accepted("alice")

    def test_without_qop(self) -> None:
        scene = Scene(qops=())
        assert scene.server.challenge(scene.request()).headers.all(WWW_AUTHENTICATE)[0].get("qop") is None

    @pytest.mark.parametrize(
        "wrong", [{"algorithms": ("SHA-1",)}, {"algorithms": ("md5",)}, {"algorithms": ()}, {"qops": ("token",)}]
    )
    def test_settings_that_make_no_sense(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(LocalProtocolError):
            Scene(**wrong)

    def test_a_key_that_is_too_short(self) -> None:
        with pytest.raises(LocalProtocolError, match="key"):
            Scene().new_server(b"short")

    @pytest.mark.parametrize(
        ("outcome", "status", "stale"),
        [
            (ChallengeNeeded(), 401, None),
            (ChallengeNeeded(stale=True), 401, "true"),
            (Refused(WRONG), 401, None),
            (Refused(ALGORITHM), 401, None),
            (Refused(QOP), 401, None),
            (Refused(REPLAY), 401, "true"),
            (Refused(MALFORMED), 400, None),
            (Refused(OTHER_URI), 400, None),
        ],
    )
    def test_what_each_outcome_owes(self, outcome: ChallengeNeeded | Refused, status: int, stale: str | None) -> None:
        scene = Scene()
        response = scene.server.reject(scene.request(), outcome)
        assert response.status == status
        challenges = response.headers.all(WWW_AUTHENTICATE)
        assert [challenge.get("stale") for challenge in challenges] == ([stale] if status == 401 else [])


class TestCheck:
    @pytest.mark.parametrize("algorithm", ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess"])
    @pytest.mark.parametrize("qop", [("auth",), ("auth-int",), ()])
    def test_the_right_password(self, algorithm: str, qop: tuple[str, ...]) -> None:
        scene = Scene(algorithms=(algorithm,), qops=qop)
        signed = scene.signed(scene.request(body=b"hello"))
        assert scene.check(signed) == Accepted("alice")
        assert len(scene.server) == 1

    def test_sess_over_several_requests(self) -> None:
        scene = Scene(algorithms=("MD5-sess",))
        signed = scene.signed()
        assert scene.check(signed) == Accepted("alice")
        assert scene.check(scene.again(signed)) == Accepted("alice")

    def test_no_credentials_for_this_realm(self) -> None:
        scene = Scene()
        assert scene.check(scene.request()) == ChallengeNeeded()
        for line in ("Basic abc=", 'Digest realm="other", nonce="n", username="alice", uri="sip:x", response="0"'):
            assert scene.check(scene.with_lines(scene.request(), (("Authorization", line),))) == ChallengeNeeded()
        # credentials for a proxy are not for a server
        line = scene.signed().headers.get("Authorization") or ""
        assert scene.check(scene.with_lines(scene.request(), (("Proxy-Authorization", line),))) == ChallengeNeeded()

    def test_a_wrong_password_and_an_unknown_user_look_the_same(self) -> None:
        assert (scene := Scene(password="wrong")).check(scene.signed()) == Refused(WRONG)
        assert (scene := Scene(username="mallory")).check(scene.signed()) == Refused(WRONG)
        assert len(scene.server) == 0  # nobody without a password gets an entry

    def test_an_unknown_user_costs_as_many_hashes_as_a_wrong_password(self, monkeypatch: pytest.MonkeyPatch) -> None:
        scenes = [Scene(password="wrong"), Scene(username="mallory")]
        signed = [scene.signed() for scene in scenes]
        secret = ha1("alice", "r", "secret")
        counts = []
        new = hashlib.new
        for scene, request in zip(scenes, signed, strict=True):
            hashed: list[str] = []

            def count(name: str, *args: Any, seen: list[str] = hashed, **more: Any) -> Any:
                seen.append(name)
                return new(name, *args, **more)

            monkeypatch.setattr("hashlib.new", count)
            assert scene.server.check(request, lambda claim: secret if claim.username == "alice" else None) == Refused(
                WRONG
            )
            monkeypatch.undo()
            counts.append(hashed)
        assert counts[0] == counts[1] == ["md5", "md5"]

    def test_the_dummy_secret_of_an_unknown_user_opens_nothing(self) -> None:
        scene = Scene()
        stolen = scene.server._dummy[MD5]
        scene.client = DigestClient({"r": Login("nobody", ha1={MD5: stolen})}.get, Counter())
        assert scene.check(scene.signed()) == Refused(WRONG)

    def test_a_body_that_was_changed(self) -> None:
        scene = Scene(qops=("auth-int",))
        signed = scene.signed(scene.request(body=b"hello"))
        signed.body = b"hullo"
        assert scene.check(signed) == Refused(WRONG)

    def test_upper_case_digits_are_taken(self) -> None:
        scene = Scene()
        signed = scene.signed()
        response = signed.headers.all(AUTHORIZATION)[0].get("response") or ""
        assert scene.check(scene.altered(signed, "response", response.upper())) == Accepted("alice")

    @pytest.mark.parametrize("name", ["username", "nonce", "uri", "response", "cnonce", "nc"])
    def test_a_parameter_that_is_missing(self, name: str) -> None:
        scene = Scene()
        assert scene.check(scene.altered(scene.signed(), name, None)) == Refused(MALFORMED)

    @pytest.mark.parametrize("count", ["00000000", "000000001", "0000000g", "-1", "0x1"])
    def test_a_malformed_count(self, count: str) -> None:
        scene = Scene()
        assert scene.check(scene.altered(scene.signed(), "nc", count)) == Refused(MALFORMED)

    def test_a_header_field_that_cannot_be_read(self) -> None:
        scene = Scene()
        assert scene.check(scene.with_lines(scene.request(), (("Authorization", "Digest a=b a"),))) == Refused(
            MALFORMED
        )

    def test_another_algorithm_or_qop_than_was_offered(self) -> None:
        scene = Scene(algorithms=(SHA_256,), qops=("auth-int",), require_qop=True)
        signed = scene.signed()
        assert scene.check(scene.altered(signed, "algorithm", "MD5")) == Refused(ALGORITHM)
        assert scene.check(scene.altered(signed, "algorithm", None)) == Refused(ALGORITHM)
        assert scene.check(scene.altered(signed, "algorithm", "SHA-9")) == Refused(ALGORITHM)
        assert scene.check(scene.altered(signed, "qop", "auth")) == Refused(QOP)
        assert scene.check(scene.altered(signed, "qop", None)) == Refused(QOP)
        assert scene.check(signed) == Accepted("alice")

    @pytest.mark.parametrize("uri", ["sip:other.example", "not a uri"])
    def test_credentials_for_another_uri(self, uri: str) -> None:
        scene = Scene()
        assert scene.check(scene.altered(scene.signed(), "uri", uri)) == Refused(OTHER_URI)

    def test_an_equivalent_uri_is_the_same(self) -> None:
        scene = Scene()
        signed = scene.signed()
        signed.uri = "sip:EXAMPLE.com"
        assert scene.check(signed) == Accepted("alice")

    def test_behind_a_proxy_that_changes_the_uri(self) -> None:
        scene = Scene(check_uri=False)
        signed = scene.signed()
        signed.uri = "sip:other.example"
        assert scene.check(signed) == Accepted("alice")

    def test_userhash(self) -> None:
        scene = Scene(userhash=True)
        claim = scene.server.claim(scene.signed())
        assert isinstance(claim, Claim)
        assert claim.userhash
        assert claim.username == userhash("alice", "r")
        assert scene.server.verify(claim, ha1("alice", "r", "secret"), "alice") == Accepted("alice")

    @pytest.mark.parametrize(
        ("text", "username"),
        [
            ("UTF-8''J%C3%A4s%C3%B8n%20Doe", "J\u00e4s\u00f8n Doe"),
            ("utf-8'en'alice", "alice"),
            ("iso-8859-1''alice", None),
            ("UTF-8'alice", None),
            ("alice", None),
        ],
    )
    def test_extended_username(self, text: str, username: str | None) -> None:
        scene = Scene()
        signed = scene.altered(scene.altered(scene.signed(), "username*", text), "username", None)
        claim = scene.server.claim(signed)
        assert (claim.username if isinstance(claim, Claim) else None) == username


class TestFreshness:
    def test_counts_go_up_and_none_is_taken_twice(self) -> None:
        scene = Scene()
        one = scene.signed()
        two = scene.again(one)
        three = scene.again(two)
        assert scene.check(one) == Accepted("alice")
        assert scene.check(three) == Accepted("alice")
        assert scene.check(two) == Accepted("alice")  # overtaken on the way
        assert [scene.check(each) for each in (one, two, three)] == [Refused(REPLAY)] * 3

    def test_a_replay_during_the_look_up(self) -> None:
        scene = Scene()
        signed = scene.signed()
        one, two = scene.server.claim(signed), scene.server.claim(signed)
        assert isinstance(one, Claim)
        assert isinstance(two, Claim)
        assert scene.server.verify(one, scene.lookup(one)) == Accepted("alice")
        assert scene.server.verify(two, scene.lookup(two)) == Refused(REPLAY)

    def test_a_wrong_password_does_not_use_up_a_count(self) -> None:
        scene = Scene()
        signed = scene.signed()
        assert scene.check(scene.altered(signed, "response", "0" * 32)) == Refused(WRONG)
        assert scene.check(signed) == Accepted("alice")

    def test_too_old(self) -> None:
        scene = Scene(nonce_lifetime=60.0)
        signed = scene.signed()
        scene.wall.time += 60
        assert scene.check(signed) == Accepted("alice")
        scene.wall.time += 0.01
        assert scene.check(scene.again(signed)) == STALE

    def test_a_clock_set_back(self) -> None:
        scene = Scene(nonce_lifetime=60.0)
        signed = scene.signed()
        scene.wall.time -= 61
        assert scene.check(signed) == STALE

    def test_forged_and_foreign_nonces(self) -> None:
        scene = Scene()
        signed = scene.signed()
        nonce = signed.headers.all(AUTHORIZATION)[0].get("nonce") or ""
        for other in ("x", "..", nonce[:-1], "1" + nonce, nonce.upper() + "X", "\u00e9.\u00e9"):
            assert scene.check(scene.altered(signed, "nonce", other)) == STALE
        scene.server = scene.new_server(b"another key, 32 octets or so....")
        assert scene.check(signed) == STALE

    def test_a_nonce_of_the_proxy_beside_us(self) -> None:
        scene = Scene(proxy=True)
        line = scene.signed().headers.get("Proxy-Authorization") or ""
        scene.server = scene.new_server()
        assert scene.check(scene.with_lines(scene.request(), (("Authorization", line),))) == STALE

    def test_a_restart_with_the_same_key_forgets_what_was_used(self) -> None:
        scene = Scene()
        signed = scene.signed()
        assert scene.check(signed) == Accepted("alice")
        scene.wall.time += 1
        scene.server = scene.new_server()
        assert scene.check(signed) == STALE
        assert scene.check(scene.signed()) == Accepted("alice")

    def test_without_qop_a_nonce_is_good_once(self) -> None:
        scene = Scene(qops=())
        signed = scene.signed()
        assert scene.check(signed) == Accepted("alice")
        assert scene.check(signed) == STALE

    def test_without_qop_although_it_was_offered(self) -> None:
        bare = Scene(qops=())
        signed = bare.signed()
        scene = Scene()
        assert scene.check(signed) == Accepted("alice")
        assert scene.check(signed) == STALE

    def test_a_nonce_used_with_counts_is_used_up_for_credentials_without(self) -> None:
        scene = Scene()
        signed = scene.signed()
        assert scene.check(signed) == Accepted("alice")
        bare = scene.altered(scene.altered(signed, "qop", None), "nc", None)
        assert scene.check(bare) == STALE

    def test_the_table_is_bounded_and_what_falls_out_is_stale(self) -> None:
        scene = Scene(used_nonces=2)
        requests = []
        for _ in range(4):
            scene.wall.time += 1
            requests.append(scene.signed())
            assert scene.check(requests[-1]) == Accepted("alice")
        assert len(scene.server) == 2
        assert [scene.check(each) for each in requests] == [STALE, STALE, Refused(REPLAY), Refused(REPLAY)]

    def test_what_was_issued_before_something_that_fell_out_is_stale_too(self) -> None:
        scene = Scene(used_nonces=1)
        waiting = scene.signed()
        scene.wall.time += 1
        used = scene.signed()
        scene.wall.time += 1
        later = scene.signed()
        assert scene.check(used) == Accepted("alice")
        assert scene.check(later) == Accepted("alice")
        assert scene.check(waiting) == STALE

    def test_expired_entries_go(self) -> None:
        scene = Scene(nonce_lifetime=60.0)
        for _ in range(5):
            assert scene.check(scene.signed()) == Accepted("alice")
        scene.wall.time += 61
        assert scene.check(scene.signed()) == Accepted("alice")
        assert len(scene.server) == 1

    @given(st.lists(st.integers(1, 300), max_size=60))
    def test_the_window_takes_each_count_at_most_once(self, counts: list[int]) -> None:
        use = _Use(0, "")
        seen: set[int] = set()
        for count in counts:
            fresh = use.is_new(count)
            assert fresh == (count not in seen and count > max(seen, default=0) - 64)
            if fresh:
                use.mark(count)
                seen.add(count)


class TestAuthenticationInfo:
    @pytest.mark.parametrize("qop", [("auth",), ("auth-int",), ()])
    @pytest.mark.parametrize("proxy", [False, True])
    def test_the_client_believes_it(self, qop: tuple[str, ...], proxy: bool) -> None:
        scene = Scene(qops=qop, proxy=proxy)
        signed = scene.signed()
        claim = scene.server.claim(signed)
        assert isinstance(claim, Claim)
        secret = ha1("alice", "r", "secret")
        line = scene.server.authentication_info(claim, secret, b"hello", renew=True)
        assert line[0] == ("Proxy-Authentication-Info" if proxy else "Authentication-Info")
        assert scene.client.learn(signed, signed.create_response(200, headers=[line], body=b"hello"))
        scene.wall.time += 1
        following = scene.with_lines(scene.request(), scene.client.credentials(scene.request()))
        assert scene.check(following) == Accepted("alice")
        assert len(scene.server) == 1  # it took the next nonce

    def test_of_a_server_that_does_not_know_the_password(self) -> None:
        scene = Scene()
        signed = scene.signed()
        claim = scene.server.claim(signed)
        assert isinstance(claim, Claim)
        line = scene.server.authentication_info(claim, ha1("alice", "r", "guess"))
        assert not scene.client.learn(signed, signed.create_response(200, headers=[line]))


@given(st.dictionaries(st.sampled_from(["nonce", "nc", "qop", "cnonce", "uri", "response", "algorithm"]), st.text()))
def test_any_credentials_have_an_outcome(changes: dict[str, str]) -> None:
    scene = Scene()
    signed = scene.signed()
    for name, value in changes.items():
        if not any(ord(character) < 32 or ord(character) == 127 for character in value):
            signed = scene.altered(signed, name, value)
    assert isinstance(scene.check(signed), Accepted | ChallengeNeeded | Refused)
