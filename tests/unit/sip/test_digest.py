"""Digest: the RFCs' own examples, and a client against servers that behave and that do not."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchroom.sip.digest import (
    MD5,
    NO_ALGORITHM,
    NO_CHALLENGE,
    NO_CREDENTIALS,
    REFUSED,
    SHA_256,
    SHA_512_256,
    AuthenticationFailed,
    DigestClient,
    Login,
    canonical_algorithm,
    digest_response,
    ha1,
    is_available,
    userhash,
)
from switchroom.sip.errors import LocalProtocolError
from switchroom.sip.headers import AUTHORIZATION, PROXY_AUTHORIZATION, Credentials, parse_credentials
from switchroom.sip.message import Request, Response

needs_sha512_256 = pytest.mark.skipif(not is_available(SHA_512_256), reason="OpenSSL here has no SHA-512/256")


class Counter:
    """Identifiers that count, so that a test can say what comes next."""

    def __init__(self) -> None:
        self.count = 0

    def token(self, bits: int = 64) -> str:
        self.count += 1
        return f"c{self.count}"

    def random(self) -> float:
        return 0.5


def request(method: str = "REGISTER", uri: str = "sip:example.com", *, call_id: str = "1", **more: Any) -> Request:
    return Request.build(
        method,
        uri,
        from_="<sip:alice@example.com>;tag=a",
        to=more.pop("to", "<sip:alice@example.com>"),
        call_id=call_id,
        cseq=1,
        **more,
    )


def challenged(to: Request, *challenges: str, status: int = 401) -> Response:
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    return to.create_response(status, headers=[(name, text) for text in challenges])


def repeated(before: Request, lines: tuple[tuple[str, str], ...] | None) -> Request:
    assert lines is not None
    after = before.copy()
    after.headers.remove("Authorization")
    after.headers.remove("Proxy-Authorization")
    for name, value in lines:
        after.headers.add(name, value)
    return after


def client(**more: Any) -> DigestClient:
    logins = {"r": Login("alice", "secret"), "p": Login("alice", "other"), "q": Login("bob", "third")}
    return DigestClient(logins.get, Counter(), **more)


def only(lines: tuple[tuple[str, str], ...]) -> Credentials:
    (line,) = lines
    return parse_credentials(line[1])


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


class TestArithmetic:
    def test_rfc_2617_section_3_5(self) -> None:
        secret = ha1("Mufasa", "testrealm@host.com", "Circle Of Life")
        assert secret == "939e7578ed9e3c518a452acee763bce9"
        assert (
            digest_response(
                secret,
                MD5,
                "GET",
                "/dir/index.html",
                "dcd98b7102dd2f0e8b11d0f600bfb0c093",
                qop="auth",
                nc="00000001",
                cnonce="0a4f113b",
            )
            == "6629fae49393a05397450978507c4ef1"
        )

    def test_without_qop_as_in_rfc_2069(self) -> None:
        # RFC 2617's example, with the formula of its §3.2.2.1 for a missing qop
        secret = ha1("Mufasa", "testrealm@host.com", "Circle Of Life")
        response = digest_response(secret, MD5, "GET", "/dir/index.html", "dcd98b7102dd2f0e8b11d0f600bfb0c093")
        assert response == "670fd8c2df070c60b045671b8b24ff02"

    @pytest.mark.parametrize(
        ("algorithm", "expected"),
        [
            (MD5, "8ca523f5e9506fed4657c9700eebdbec"),
            (SHA_256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ],
    )
    def test_rfc_7616_section_3_9_1(self, algorithm: str, expected: str) -> None:
        # with the "of" of erratum 4495
        assert (
            digest_response(
                ha1("Mufasa", "http-auth@example.org", "Circle of Life", algorithm),
                algorithm,
                "GET",
                "/dir/index.html",
                "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
                qop="auth",
                nc="00000001",
                cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            )
            == expected
        )

    @needs_sha512_256
    def test_rfc_7616_section_3_9_2(self) -> None:
        # the values of erratum 4897: those printed in the RFC are of a truncated SHA-512
        name, realm = "J\u00e4s\u00f8n Doe", "api@example.org"
        assert userhash(name, realm, SHA_512_256) == "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"
        assert (
            digest_response(
                ha1(name, realm, "Secret, or not?", SHA_512_256),
                SHA_512_256,
                "GET",
                "/doe.json",
                "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
                qop="auth",
                nc="00000001",
                cnonce="NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
            )
            == "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"
        )

    def test_sess_and_auth_int_are_the_formulas_of_the_rfc(self) -> None:
        a1 = md5("u:r:p")
        session = md5(f"{a1}:n:first")
        a2 = md5(f"INVITE:sip:x:{md5('body')}")
        expected = md5(f"{session}:n:00000002:later:auth-int:{a2}")
        assert (
            digest_response(
                a1,
                "MD5-sess",
                "INVITE",
                "sip:x",
                "n",
                qop="auth-int",
                nc="00000002",
                cnonce="later",
                body=b"body",
                session_cnonce="first",
            )
            == expected
        )

    def test_names(self) -> None:
        assert canonical_algorithm(None) == canonical_algorithm("md5") == MD5
        assert canonical_algorithm("sha-256-SESS") == "SHA-256-sess"
        assert canonical_algorithm("SHA-1") is None
        assert is_available(MD5)
        assert is_available("SHA-256-sess")
        assert not is_available("SHA-1")

    def test_what_cannot_be_computed_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(LocalProtocolError, match="none of MD5"):
            ha1("u", "r", "p", "SHA-1")

        def without(name: str, *args: object, **more: object) -> object:
            raise ValueError(f"unsupported hash type {name}")

        monkeypatch.setattr("hashlib.new", without)  # an OpenSSL built without this hash
        assert not is_available(SHA_512_256)
        with pytest.raises(LocalProtocolError, match="SHA-512-256 is not provided"):
            ha1("u", "r", "p", SHA_512_256)


class TestAnswer:
    def test_a_challenge_with_qop(self) -> None:
        first = request()
        lines = client().answer(
            first, challenged(first, 'Digest realm="r", nonce="n1", opaque="o", algorithm=MD5, qop="auth,auth-int"')
        )
        assert lines[0][0] == "Authorization"
        expected = md5(f"{md5('alice:r:secret')}:n1:00000001:c1:auth:{md5('REGISTER:sip:example.com')}")
        assert lines[0][1] == (
            'Digest username="alice", realm="r", nonce="n1", uri="sip:example.com", '
            f'response="{expected}", algorithm=MD5, cnonce="c1", qop=auth, nc=00000001, opaque="o"'
        )

    def test_a_challenge_without_qop_gets_no_qop_and_no_count(self) -> None:
        first = request()
        expected = md5(f"{md5('alice:r:secret')}:n1:{md5('REGISTER:sip:example.com')}")
        assert client().answer(first, challenged(first, 'Digest realm="r", nonce="n1"')) == (
            (
                "Authorization",
                f'Digest username="alice", realm="r", nonce="n1", uri="sip:example.com", response="{expected}"',
            ),
        )

    def test_the_first_acceptable_of_several(self) -> None:
        first = request()
        offers = [
            'Digest realm="r", nonce="n", algorithm=SHA-9, qop="auth"',
            'Basic realm="r"',
            'Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth"',
            'Digest realm="r", nonce="n", algorithm=MD5, qop="auth"',
        ]
        assert only(client().answer(first, challenged(first, *offers))).get("algorithm") == SHA_256
        lines = client(algorithms=(MD5,)).answer(first, challenged(first, *offers))
        assert only(lines).get("algorithm") == MD5

    def test_ha1_in_place_of_a_password(self) -> None:
        logins = {"r": Login("alice", ha1={MD5: ha1("alice", "r", "secret")})}
        first = request()
        offers = challenged(
            first, 'Digest realm="r", nonce="n", algorithm=SHA-256', 'Digest realm="r", nonce="n", algorithm=MD5'
        )
        lines = DigestClient(logins.get, Counter()).answer(first, offers)
        assert only(lines).get("response") == only(client(algorithms=(MD5,)).answer(first, offers)).get("response")

    @pytest.mark.parametrize(
        ("offered", "integrity", "chosen"),
        [
            ("auth", False, "auth"),
            ("auth", True, "auth"),
            ("auth-int", False, "auth-int"),
            ("auth, auth-int", False, "auth"),
            ("auth,auth-int", True, "auth-int"),
            ("", False, None),
        ],
    )
    def test_qop(self, offered: str, integrity: bool, chosen: str | None) -> None:
        first = request(body=b"v=0\r\n", content_type="application/sdp")
        lines = client(integrity=integrity).answer(
            first, challenged(first, f'Digest realm="r", nonce="n", qop="{offered}"')
        )
        assert only(lines).get("qop") == chosen
        if chosen == "auth-int":
            a2 = md5(f"REGISTER:sip:example.com:{md5('v=0' + chr(13) + chr(10))}")
            expected = md5(f"{md5('alice:r:secret')}:n:00000001:c1:auth-int:{a2}")
            assert only(lines).get("response") == expected

    def test_userhash(self) -> None:
        first = request()
        credentials = only(
            client().answer(first, challenged(first, 'Digest realm="r", nonce="n", qop="auth", userhash=true'))
        )
        assert credentials.get("username") == md5("alice:r")
        assert credentials.get("userhash") == "true"

    def test_sess_keeps_the_first_cnonce(self) -> None:
        user = client()
        first = request()
        text = 'Digest realm="r", nonce="n", algorithm=MD5-sess, qop="auth"'
        second = repeated(first, user.answer(first, challenged(first, text)))
        assert user.learn(second, second.create_response(200))
        third = only(user.credentials(request()))
        assert (third.get("cnonce"), third.get("nc")) == ("c1", "00000002")

    def test_sess_without_qop_has_a_cnonce_all_the_same(self) -> None:
        first = request()
        lines = client().answer(first, challenged(first, 'Digest realm="r", nonce="n", algorithm=MD5-sess'))
        a1 = md5(f"{md5('alice:r:secret')}:n:c1")
        assert only(lines).get("response") == md5(f"{a1}:n:{md5('REGISTER:sip:example.com')}")
        assert only(lines).get("cnonce") == "c1"

    def test_two_proxies_and_a_server_in_a_row(self) -> None:
        user = client()
        first = request("INVITE", "sip:bob@example.com")
        p = challenged(first, 'Digest realm="p", nonce="np", qop="auth"', status=407)
        second = repeated(first, user.answer(first, p))
        q = challenged(second, 'Digest realm="q", nonce="nq", qop="auth"', status=407)
        third = repeated(second, user.answer(second, q))
        counts = {c.get("realm"): c.get("nc") for c in third.headers.all(PROXY_AUTHORIZATION)}
        assert counts == {"p": "00000002", "q": "00000001"}
        r = challenged(third, 'Digest realm="r", nonce="nr", qop="auth"')
        fourth = repeated(third, user.answer(third, r))
        counts = {c.get("realm"): c.get("nc") for c in fourth.headers.all(PROXY_AUTHORIZATION)}
        assert counts == {"p": "00000003", "q": "00000002"}
        assert [c.get("realm") for c in fourth.headers.all(AUTHORIZATION)] == ["r"]

    def test_challenges_of_several_branches_in_one_response(self) -> None:
        first = request("INVITE", "sip:bob@example.com")
        response = challenged(first, 'Digest realm="r", nonce="n"', 'Digest realm="unknown", nonce="n"')
        response.headers.add("Proxy-Authenticate", 'Digest realm="p", nonce="n"')
        assert [name for name, _ in client().answer(first, response)] == ["Authorization", "Proxy-Authorization"]

    @pytest.mark.parametrize(
        ("challenge", "reason"),
        [
            ('Basic realm="r"', NO_CHALLENGE),
            ('Digest realm="r"', NO_CHALLENGE),
            ('Digest nonce="n"', NO_CHALLENGE),
            ("Digest =", NO_CHALLENGE),
            ('Digest realm="nobody", nonce="n"', NO_CREDENTIALS),
            ('Digest realm="r", nonce="n", algorithm=SHA-9', NO_ALGORITHM),
            ('Digest realm="r", nonce="n", qop="token"', NO_ALGORITHM),
        ],
    )
    def test_what_cannot_be_answered(self, challenge: str, reason: str) -> None:
        first = request()
        with pytest.raises(AuthenticationFailed) as failed:
            client().answer(first, challenged(first, challenge))
        assert failed.value.reason == reason
        assert client().authorize(first, challenged(first, challenge)) is None

    def test_more_realms_than_any_path_has(self) -> None:
        user = DigestClient(lambda realm: Login("alice", "secret"), Counter())
        first = request()
        response = challenged(first, *[f'Digest realm="r{n}", nonce="n"' for n in range(9)])
        with pytest.raises(AuthenticationFailed, match="more realms"):
            user.answer(first, response)

    def test_names_that_need_quoting(self) -> None:
        logins = {'a "b" \\c': Login('al"ice', "secret")}
        first = request()
        credentials = only(
            DigestClient(logins.get, Counter()).answer(
                first, challenged(first, 'Digest realm="a \\"b\\" \\\\c", nonce="n"')
            )
        )
        assert credentials.get("realm") == 'a "b" \\c'
        assert credentials.get("username") == 'al"ice'


class TestRefusal:
    TEXT = 'Digest realm="r", nonce="{}", qop="auth"'

    def chain(self, user: DigestClient, *second: str) -> tuple[Request, Response]:
        first = request()
        again = repeated(first, user.answer(first, challenged(first, self.TEXT.format("n0"))))
        return again, challenged(again, *second)

    def test_a_wrong_password_is_tried_once(self) -> None:
        user = client()
        with pytest.raises(AuthenticationFailed) as failed:
            user.answer(*self.chain(user, self.TEXT.format("n1")))
        assert failed.value.reason == REFUSED

    def test_the_same_nonce_refused_is_final_even_if_called_stale(self) -> None:
        user = client()
        assert user.authorize(*self.chain(user, self.TEXT.format("n0") + ", stale=true")) is None

    def test_stale_is_tried_again_but_not_for_ever(self) -> None:
        user = client()
        again, response = self.chain(user, self.TEXT.format("n1") + ", stale=TRUE")
        tries = 0
        while (lines := user.authorize(again, response)) is not None:
            tries += 1
            again = repeated(again, lines)
            response = challenged(again, self.TEXT.format(f"n{tries + 1}") + ", stale=true")
        assert tries == 3

    def test_a_nonce_that_was_good_may_be_forgotten_without_stale(self) -> None:
        user = client()
        first = request()
        again = repeated(first, user.answer(first, challenged(first, self.TEXT.format("n0"))))
        user.learn(again, again.create_response(200))
        later = repeated(request(), user.credentials(request()))
        lines = user.answer(later, challenged(later, self.TEXT.format("n1")))
        assert (only(lines).get("nonce"), only(lines).get("nc")) == ("n1", "00000001")
        final = repeated(later, lines)
        assert user.authorize(final, challenged(final, self.TEXT.format("n2"))) is None  # the password changed

    def test_stale_for_a_nonce_of_somebody_else(self) -> None:
        user = client()
        again, response = self.chain(client(), self.TEXT.format("n1") + ", stale=true")
        assert only(user.answer(again, response)).get("nonce") == "n1"

    def test_the_same_nonce_given_to_two_requests_counts_on(self) -> None:
        user = client()
        one, two = request(call_id="1"), request(call_id="2")
        counts = [only(user.answer(each, challenged(each, self.TEXT.format("n0")))).get("nc") for each in (one, two)]
        assert counts == ["00000001", "00000002"]


class TestReuse:
    def signed(self, user: DigestClient, first: Request, text: str, status: int = 401) -> Request:
        return repeated(first, user.answer(first, challenged(first, text, status=status)))

    def test_only_a_nonce_that_was_accepted_is_used_unasked(self) -> None:
        user = client()
        again = self.signed(user, request(), 'Digest realm="r", nonce="n", qop="auth"')
        for status in (100, 403, 503):
            user.learn(again, again.create_response(status))
            assert user.credentials(request()) == ()
        user.learn(again, again.create_response(404))
        assert only(user.credentials(request())).get("nc") == "00000002"
        assert only(user.credentials(request())).get("nc") == "00000003"

    def test_where_credentials_hold(self) -> None:
        user = client()
        first = request("INVITE", "sip:bob@example.com", to="<sip:bob@example.com>", call_id="call")
        again = self.signed(user, first, 'Digest realm="r", nonce="n"')
        user.learn(again, again.create_response(200))
        again = self.signed(user, first, 'Digest realm="p", nonce="n"', 407)
        user.learn(again, again.create_response(200))

        def realms(other: Request) -> set[str | None]:
            return {parse_credentials(text).get("realm") for _, text in user.credentials(other)}

        elsewhere = "sip:carol@192.0.2.1"
        assert realms(request("BYE", elsewhere, to="<sip:carol@192.0.2.1>", call_id="call")) == {"r", "p"}
        assert realms(request("INVITE", elsewhere, to="<sip:carol@192.0.2.1>", call_id="new")) == set()
        assert realms(request("INVITE", elsewhere, to="<sip:carol@EXAMPLE.com>", call_id="new")) == {"r"}
        routed = request(
            "INVITE", elsewhere, to="<tel:+15551234>", call_id="new", headers=[("Route", "<sip:example.com;lr>")]
        )
        assert realms(routed) == {"p"}

    def test_a_challenge_of_the_next_hop_proves_the_one_before(self) -> None:
        user = client()
        first = request()
        again = self.signed(user, first, 'Digest realm="p", nonce="np"', 407)
        user.learn(again, challenged(again, 'Digest realm="r", nonce="nr"'))
        assert [name for name, _ in user.credentials(request())] == ["Proxy-Authorization"]

    def test_a_challenge_of_the_same_realm_proves_nothing(self) -> None:
        user = client()
        again = self.signed(user, request(), 'Digest realm="r", nonce="n"')
        user.learn(again, challenged(again, 'Digest realm="r", nonce="m"'))
        assert user.credentials(request()) == ()

    def test_a_response_to_a_request_without_credentials(self) -> None:
        assert client().learn(request(), request().create_response(200))

    def test_memory_is_bounded(self) -> None:
        user = DigestClient(lambda realm: Login("alice", "secret"), Counter())
        for n in range(300):
            first = request(call_id=f"call{n}", uri=f"sip:host{n}.example.com")
            again = self.signed(user, first, f'Digest realm="realm{n}", nonce="n"')
            user.learn(again, again.create_response(200))
        assert len(user._nonces) == len(user._current) == 256
        assert len(user._scopes) == 64
        assert len(user.credentials(request(call_id="call299"))) > 0
        assert user.credentials(request(call_id="call0", to="<sip:x@other.example>")) == ()

    def test_a_server_with_ever_new_realms_is_remembered_by_the_last_of_them(self) -> None:
        user = DigestClient(lambda realm: Login("alice", "secret"), Counter())
        for n in range(20):
            again = self.signed(user, request(), f'Digest realm="realm{n}", nonce="n"')
            user.learn(again, again.create_response(200))
            user.learn(again, again.create_response(200))
        realms = [parse_credentials(text).get("realm") for _, text in user.credentials(request())]
        assert realms == [f"realm{n}" for n in range(12, 20)]
        assert {len(known) for known in user._scopes.values()} == {8}


class TestAuthenticationInfo:
    def exchange(
        self, user: DigestClient, info: str, body: bytes = b"", name: str = "Authentication-Info", status: int = 401
    ) -> bool:
        first = request()
        text = 'Digest realm="r", nonce="n", qop="auth,auth-int"'
        again = repeated(first, user.answer(first, challenged(first, text, status=status)))
        response = again.create_response(200, headers=[(name, info)], body=body)
        return user.learn(again, response)

    def proof(self, qop: str, body: str = "") -> str:
        a2 = md5(":sip:example.com" + (f":{md5(body)}" if qop == "auth-int" else ""))
        return md5(f"{md5('alice:r:secret')}:n:00000001:c1:{qop}:{a2}")

    def test_the_server_knows_the_password(self) -> None:
        assert self.exchange(client(), f'qop=auth, rspauth="{self.proof("auth")}", cnonce="c1", nc=00000001')
        proof = self.proof("auth-int", "hello")
        assert self.exchange(client(), f'rspauth="{proof.upper()}", qop=auth-int', b"hello")

    def test_it_does_not(self) -> None:
        assert not self.exchange(client(), f'qop=auth, rspauth="{"0" * 32}", cnonce="c1"')
        proof = self.proof("auth-int", "hello")
        assert not self.exchange(client(), f'rspauth="{proof}", qop=auth-int', b"hullo")

    def test_proxies_have_one_too(self) -> None:
        name = "Proxy-Authentication-Info"
        assert self.exchange(client(), f'qop=auth, rspauth="{self.proof("auth")}"', name=name, status=407)
        assert not self.exchange(client(), f'qop=auth, rspauth="{"0" * 32}"', name=name, status=407)

    def test_nextnonce(self) -> None:
        user = client()
        assert self.exchange(user, 'nextnonce="n2"')
        later = only(user.credentials(request()))
        assert (later.get("nonce"), later.get("nc"), later.get("realm")) == ("n2", "00000001", "r")

    @pytest.mark.parametrize("info", ["=", 'nextnonce="x", cnonce="other"', "qop=auth"])
    def test_what_says_nothing(self, info: str) -> None:
        user = client()
        assert self.exchange(user, info)
        assert only(user.credentials(request())).get("nonce") == "n"

    def test_of_a_nonce_forgotten_meanwhile(self) -> None:
        first = request()
        user = client()
        again = repeated(first, user.answer(first, challenged(first, 'Digest realm="r", nonce="n"')))
        assert client().learn(again, again.create_response(200, headers=[("Authentication-Info", 'rspauth="0"')]))


@given(st.text(max_size=80))
def test_any_challenge_is_answered_or_declined(text: str) -> None:
    first = request()
    response = Response.build(401)
    response.headers._lines.append(f"WWW-Authenticate: Digest {text}")  # as it might come from the wire
    response.headers._keys.append("www-authenticate")
    client().authorize(first, response)
