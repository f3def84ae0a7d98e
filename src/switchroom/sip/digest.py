"""Digest authentication: the arithmetic, and the client's side (RFC 2617, RFC 7616, RFC 8760; RFC 3261 §22)."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from hmac import compare_digest
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from .errors import LocalProtocolError, ParseError, SipError
from .grammar import quote
from .headers import (
    AUTHENTICATION_INFO,
    AUTHORIZATION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    WWW_AUTHENTICATE,
    register,
)
from .headers.auth import parse_authentication_info
from .uri import SipUri

if TYPE_CHECKING:
    from .grammar import Params
    from .headers import AuthenticationInfo, Challenge, Credentials, HeaderField
    from .identifiers import Identifiers
    from .message import Request, Response
    from .uri import Uri

PROXY_AUTHENTICATION_INFO: Final = register("Proxy-Authentication-Info", parse_authentication_info)  # RFC 7615 §4

MD5: Final = "MD5"
SHA_256: Final = "SHA-256"
SHA_512_256: Final = "SHA-512-256"

_HASHES: Final = {MD5: "md5", SHA_256: "sha256", SHA_512_256: "sha512_256"}
_CANONICAL: Final = {name.lower(): name for base in _HASHES for name in (base, base + "-sess")}
ALGORITHMS: Final = (SHA_512_256, SHA_256, MD5)
"""The algorithms known here, strongest first; each has a variant with "-sess" (RFC 7616 §3.4.2)."""

AUTH: Final = "auth"
AUTH_INT: Final = "auth-int"


# -- the arithmetic ----------------------------------------------------------------------------------------------------


def canonical_algorithm(name: str | None) -> str | None:
    """The registered spelling of an algorithm parameter: MD5 when there is none, None for an unknown one."""
    return MD5 if not name else _CANONICAL.get(name.lower())


def base_algorithm(algorithm: str) -> str:
    """The hash of an algorithm: its name without "-sess"; it is what a stored HA1 belongs to."""
    return algorithm.removesuffix("-sess")


def is_available(algorithm: str) -> bool:
    """Whether this Python can compute *algorithm*: OpenSSL may lack SHA-512/256, or forbid MD5."""
    name = canonical_algorithm(algorithm)
    if name is None:
        return False
    try:
        hashlib.new(_HASHES[base_algorithm(name)], usedforsecurity=False)
    except ValueError:
        return False
    return True


def _hash(algorithm: str, data: bytes) -> str:
    base = base_algorithm(algorithm)
    if base not in _HASHES:
        raise LocalProtocolError(f"digest algorithm {algorithm!r} is none of {', '.join(_HASHES)}")
    try:
        return hashlib.new(_HASHES[base], data, usedforsecurity=False).hexdigest()
    except ValueError:
        raise LocalProtocolError(
            f"digest algorithm {base} is not provided by this Python's OpenSSL; configure another one"
        ) from None


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def ha1(username: str, realm: str, password: str, algorithm: str = MD5) -> str:
    """What a server stores instead of a password: H(username ":" realm ":" password) (RFC 7616 §3.4.2).

    Good for *algorithm* and for its "-sess" variant.
    """
    return _hash(algorithm, _octets(f"{username}:{realm}:{password}"))


def userhash(username: str, realm: str, algorithm: str = MD5) -> str:
    """The username as it is sent when the challenge says `userhash=true` (RFC 7616 §3.4.4)."""
    return _hash(algorithm, _octets(f"{username}:{realm}"))


def digest_response(
    ha1: str,
    algorithm: str,
    method: str,
    uri: str,
    nonce: str,
    *,
    qop: str = "",
    nc: str = "",
    cnonce: str = "",
    body: bytes = b"",
    session_cnonce: str | None = None,
) -> str:
    """The `response` of credentials (RFC 7616 §3.4.1); without qop as in RFC 2617 §3.2.2.1.

    `rspauth` is the same with an empty method and the response's body.  `session_cnonce` is the first cnonce that was
    used with this nonce, for the "-sess" algorithms; default `cnonce`.
    """
    if algorithm.endswith("-sess"):
        first = cnonce if session_cnonce is None else session_cnonce
        ha1 = _hash(algorithm, _octets(f"{ha1}:{nonce}:{first}"))
    a2 = f"{method}:{uri}"
    if qop == AUTH_INT:
        a2 += ":" + _hash(algorithm, body)
    ha2 = _hash(algorithm, _octets(a2))
    middle = f"{nonce}:{nc}:{cnonce}:{qop}" if qop else nonce
    return _hash(algorithm, _octets(f"{ha1}:{middle}:{ha2}"))


# -- the client --------------------------------------------------------------------------------------------------------


class AuthenticationFailed(SipError):
    """A challenge that was not answered; `reason` is one of the constants below."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


NO_CHALLENGE: Final = "no challenge"
"""The response holds no Digest challenge that can be read."""
NO_CREDENTIALS: Final = "no credentials"
"""The user has no login for any realm that challenges."""
NO_ALGORITHM: Final = "no algorithm"
"""Every challenge wants an algorithm or a qop that is unknown, unavailable or not allowed."""
REFUSED: Final = "refused"
"""The credentials were used, and refused: a wrong password, or a server that never is content with its own nonce."""


class Login(NamedTuple):
    """Who the user is in one realm: with a password, or with HA1 values by algorithm name (without "-sess")."""

    username: str
    password: str | None = None
    ha1: Mapping[str, str] = {}


class LoginSource(Protocol):
    """Where logins come from; `dict.get` of realm -> Login is one."""

    def __call__(self, realm: str, /) -> Login | None:
        """The login for *realm*, or None."""
        ...


STALE_RETRIES: Final = 3
"""How often in a row a fresh nonce may be called stale before the server counts as broken."""
NONCES_KEPT: Final = 256
"""Nonces remembered by one client, over all realms."""
REALMS_PER_REQUEST: Final = 8
"""Realms that one request authenticates to: proxies in a row, and the server."""
_SCOPES_KEPT: Final = 64

_Key = tuple[str, str]  # name of the credentials' header field, realm


class _Nonce:
    """A nonce of a server, and how it is used."""

    __slots__ = ("algorithm", "cnonce", "count", "depth", "named", "nonce", "opaque", "proved", "qop", "userhash")

    def __init__(self, params: Params, algorithm: str, qop: str, depth: int) -> None:
        self.nonce = params.get("nonce") or ""
        self.opaque = params.get("opaque")
        self.algorithm = algorithm
        self.named = "algorithm" in params
        self.qop = qop
        self.userhash = (params.get("userhash") or "").lower() == "true"
        self.count = 0
        self.cnonce = ""
        """The first cnonce, which the "-sess" algorithms keep (RFC 2617 §3.2.2.2)."""
        self.depth = depth
        """Challenges in a row that led here without a success between."""
        self.proved = False
        """Whether the server accepted credentials with it."""


class DigestClient:
    """Answers challenges for one user, and remembers nonces so that later requests need no challenge.

    `logins` gives the login of a realm.  `algorithms` are those allowed (without "-sess"); of several challenges of
    one realm the first acceptable in the server's order is taken (RFC 8760 §2.4).  With `integrity`, auth-int is
    chosen where it is offered beside auth.

    `authorize` after a 401 or 407, `credentials` for a new request, `learn` from every final response.
    """

    def __init__(
        self,
        logins: LoginSource,
        ids: Identifiers,
        *,
        algorithms: tuple[str, ...] = ALGORITHMS,
        integrity: bool = False,
    ) -> None:
        self._logins = logins
        self._ids = ids
        self._algorithms = tuple(name for name in algorithms if is_available(name))
        self._integrity = integrity
        self._nonces: OrderedDict[tuple[str, str, str], _Nonce] = OrderedDict()
        self._current: OrderedDict[_Key, _Nonce] = OrderedDict()
        self._scopes: OrderedDict[tuple[str, str], dict[_Key, None]] = OrderedDict()

    def authorize(self, request: Request, response: Response) -> tuple[tuple[str, str], ...] | None:
        """As `answer`, but None instead of an `AuthenticationFailed`."""
        try:
            return self.answer(request, response)
        except AuthenticationFailed:
            return None

    def answer(self, request: Request, response: Response) -> tuple[tuple[str, str], ...]:
        """The Authorization and Proxy-Authorization header fields for a repetition of *request* after *response*.

        They replace all that the request has: those of realms that did not challenge come along with their next nonce
        count.  The repetition needs the next CSeq number (RFC 3261 §22.2) and must have the same Request-URI and body.
        Raises AuthenticationFailed.
        """
        sent = _sent(request)
        failure = AuthenticationFailed("the response holds no Digest challenge", NO_CHALLENGE)
        fresh: dict[_Key, _Nonce] = {}
        for name, offers in _challenges(response):
            for realm, challenges in offers.items():
                try:
                    fresh[name, realm] = self._accept(name, realm, challenges, sent)
                except AuthenticationFailed as error:
                    failure = error
        if not fresh:
            raise failure
        for key, nonce in fresh.items():
            self._remember(key, nonce)
        keys = [*(key for key in sent if key not in fresh), *fresh]
        if len(keys) > REALMS_PER_REQUEST:
            raise AuthenticationFailed("more realms challenge than any path has", REFUSED)
        return self._lines(request, keys)

    def credentials(self, request: Request) -> tuple[tuple[str, str], ...]:
        """Header fields to put into a new *request*: for the realms known to ask for them on its way.

        Those are the realms that accepted credentials in the same call, for the same domain (401), or through the
        same first hop (407) (RFC 3261 §22.2, §22.3).  Empty when nothing is known.
        """
        keys: dict[_Key, None] = {}
        for scope in _scopes(request):
            known = self._scopes.get(scope)
            if known is not None:
                self._scopes.move_to_end(scope)
                keys.update(known)
        return self._lines(request, [key for key in keys if key in self._current and self._current[key].proved])

    def learn(self, request: Request, response: Response) -> bool:
        """Take note of the final *response* to *request*: which nonces are good, and the next one.

        Returns False when the server failed to prove that it knows the password: an Authentication-Info with a wrong
        `rspauth` (RFC 7616 §3.5).
        """
        status = response.status
        if status < 200:
            return True
        sent = _sent(request)
        if not sent:
            return True
        challenged = {(name, realm) for name, offers in _challenges(response) for realm in offers}
        # 403 may stand for a wrong password, and a 5xx for anything
        if status != 403 and not 500 <= status < 600:
            for key, credentials in sent.items():
                nonce = self._nonces.get((*key, credentials.params.get("nonce") or ""))
                if nonce is not None and key not in challenged:
                    nonce.proved = True
                    nonce.depth = 0
                    self._note_scopes(request, key)
        honest = True
        for field, answer in ((AUTHENTICATION_INFO, AUTHORIZATION), (PROXY_AUTHENTICATION_INFO, PROXY_AUTHORIZATION)):
            try:
                info = response.headers.one(field)
            except ParseError:
                continue  # an optional header field that cannot be read proves nothing, either way
            if info is not None:
                honest = self._take_info(info, answer.name, sent, response) and honest
        return honest

    # -- choosing ------------------------------------------------------------------------------------------------------

    def _accept(self, name: str, realm: str, challenges: list[Challenge], sent: dict[_Key, Credentials]) -> _Nonce:
        login = self._logins(realm)
        if login is None:
            raise AuthenticationFailed(f"no login for realm {realm!r}", NO_CREDENTIALS)
        for challenge in challenges:
            params = challenge.params
            algorithm = canonical_algorithm(params.get("algorithm"))
            qop = self._choose_qop(params.get("qop"))
            if algorithm is None or qop is None or base_algorithm(algorithm) not in self._algorithms:
                continue
            if login.password is None and base_algorithm(algorithm) not in login.ha1:
                continue
            return _Nonce(params, algorithm, qop, self._depth(name, realm, params, sent))
        raise AuthenticationFailed(f"no challenge of realm {realm!r} has a usable algorithm and qop", NO_ALGORITHM)

    def _choose_qop(self, offered: str | None) -> str | None:
        """auth, auth-int, "" for none (RFC 2617 §3.2.1: a challenge without qop), None if there is no choice."""
        if not offered:
            return ""
        values = [value.strip().lower() for value in offered.split(",")]
        if AUTH_INT in values and (self._integrity or AUTH not in values):
            return AUTH_INT
        return AUTH if AUTH in values else None

    def _depth(self, name: str, realm: str, params: Params, sent: dict[_Key, Credentials]) -> int:
        """How many challenges in a row the answer to this one will follow; raises when there is no use in another."""
        before = sent.get((name, realm))
        if before is None:
            return 0
        refused = before.params.get("nonce") or ""
        old = self._nonces.get((name, realm, refused))
        proved = old is not None and old.proved
        stale = (params.get("stale") or "").lower() == "true"
        # A server that does not say `stale` may still have forgotten a nonce that it accepted before.
        if refused == params.get("nonce") or not (stale or proved):
            raise AuthenticationFailed(f"the credentials for realm {realm!r} were refused", REFUSED)
        depth = 1 if old is None or proved else old.depth + 1
        if depth > STALE_RETRIES:
            raise AuthenticationFailed(f"realm {realm!r} calls every nonce stale", REFUSED)
        return depth

    def _remember(self, key: _Key, nonce: _Nonce) -> None:
        known = self._nonces.get((*key, nonce.nonce))
        if known is not None and known.algorithm == nonce.algorithm and known.qop == nonce.qop:
            nonce.count = known.count  # the same nonce given again: its count goes on
            nonce.cnonce = known.cnonce
        self._current[key] = self._nonces[(*key, nonce.nonce)] = nonce
        self._nonces.move_to_end((*key, nonce.nonce))
        self._current.move_to_end(key)
        if len(self._nonces) > NONCES_KEPT:
            self._nonces.popitem(last=False)
        if len(self._current) > NONCES_KEPT:
            self._current.popitem(last=False)

    def _note_scopes(self, request: Request, key: _Key) -> None:
        for scope in _scopes(request):
            if scope[0] in ("", key[0]):
                known = self._scopes.setdefault(scope, {})
                known[key] = None
                if len(known) > REALMS_PER_REQUEST:  # a server that names another realm every time
                    del known[next(iter(known))]
                self._scopes.move_to_end(scope)
        while len(self._scopes) > _SCOPES_KEPT:
            self._scopes.popitem(last=False)

    # -- writing -------------------------------------------------------------------------------------------------------

    def _lines(self, request: Request, keys: list[_Key]) -> tuple[tuple[str, str], ...]:
        lines: list[tuple[str, str]] = []
        for key in keys:
            nonce = self._current.get(key)
            login = self._logins(key[1])
            if nonce is not None and login is not None:
                lines.append((key[0], self._write(request, key[1], nonce, login)))
        return tuple(lines)

    def _write(self, request: Request, realm: str, nonce: _Nonce, login: Login) -> str:
        algorithm = nonce.algorithm
        base = base_algorithm(algorithm)
        uri = request.uri_text  # RFC 3261 §22.4: the digest-uri is the Request-URI
        session = algorithm != base
        nonce.count += 1
        nc = f"{nonce.count:08x}" if nonce.qop else ""
        cnonce = ""
        if nonce.qop or session:
            cnonce = nonce.cnonce if session and nonce.cnonce else self._ids.token()
            nonce.cnonce = cnonce
        secret = login.ha1.get(base) or ha1(login.username, realm, login.password or "", base)
        response = digest_response(
            secret, algorithm, request.method, uri, nonce.nonce, qop=nonce.qop, nc=nc, cnonce=cnonce, body=request.body
        )
        username = userhash(login.username, realm, base) if nonce.userhash else login.username
        parts = [
            f"username={quote(username)}",
            f"realm={quote(realm)}",
            f"nonce={quote(nonce.nonce)}",
            f"uri={quote(uri)}",
            f'response="{response}"',
        ]
        if nonce.named:
            parts.append(f"algorithm={algorithm}")
        if cnonce:
            parts.append(f"cnonce={quote(cnonce)}")
        if nonce.qop:
            parts.append(f"qop={nonce.qop}")
            parts.append(f"nc={nc}")
        if nonce.opaque is not None:
            parts.append(f"opaque={quote(nonce.opaque)}")
        if nonce.userhash:
            parts.append("userhash=true")
        return "Digest " + ", ".join(parts)

    # -- the server's proof --------------------------------------------------------------------------------------------

    def _take_info(
        self, info: AuthenticationInfo, name: str, sent: dict[_Key, Credentials], response: Response
    ) -> bool:
        """Authentication-Info names no realm: it is of the realm whose cnonce it repeats, else of the first."""
        cnonce = info.get("cnonce")
        for key, credentials in sent.items():
            params = credentials.params
            login = self._logins(key[1])
            if key[0] != name or login is None or (cnonce is not None and cnonce != params.get("cnonce")):
                continue
            old = self._nonces.get((*key, params.get("nonce") or ""))
            if old is None:
                continue
            proof = info.get("rspauth")
            if proof is not None and not compare_digest(
                _octets(proof.lower()), _octets(_rspauth(login, key[1], old, params, response.body, info.get("qop")))
            ):
                return False
            following = info.get("nextnonce")
            if following:
                fresh = _Nonce(params.with_("nonce", following), old.algorithm, old.qop, 0)
                fresh.userhash = old.userhash
                fresh.named = old.named
                fresh.proved = True
                self._remember(key, fresh)
            return True
        return True


def _rspauth(login: Login, realm: str, nonce: _Nonce, params: Params, body: bytes, qop: str | None) -> str:
    """What a server that knows the password writes (RFC 7616 §3.5): as `response`, but the A2 has no method."""
    base = base_algorithm(nonce.algorithm)
    return digest_response(
        login.ha1.get(base) or ha1(login.username, realm, login.password or "", base),
        nonce.algorithm,
        "",
        params.get("uri") or "",
        nonce.nonce,
        qop=(qop or nonce.qop).lower(),
        nc=params.get("nc") or "",
        cnonce=params.get("cnonce") or "",
        body=body,
    )


def _challenges(response: Response) -> list[tuple[str, dict[str, list[Challenge]]]]:
    """(name of the header field that answers, realm -> Digest challenges in order), of both kinds.

    A proxy that forked puts the challenges of all branches into one response (RFC 3261 §16.7 step 7).
    """
    found: list[tuple[str, dict[str, list[Challenge]]]] = []
    pairs: tuple[tuple[HeaderField[Challenge], HeaderField[Credentials]], ...] = (
        (WWW_AUTHENTICATE, AUTHORIZATION),
        (PROXY_AUTHENTICATE, PROXY_AUTHORIZATION),
    )
    for field, answer in pairs:
        realms: dict[str, list[Challenge]] = {}
        try:
            challenges = response.headers.all(field)
        except ParseError:
            continue
        for challenge in challenges:
            realm = challenge.params.get("realm")
            if challenge.scheme.lower() == "digest" and realm is not None and challenge.params.get("nonce"):
                realms.setdefault(realm, []).append(challenge)
        found.append((answer.name, realms))
    return found


def _sent(request: Request) -> dict[_Key, Credentials]:
    """The Digest credentials that a request of ours carries."""
    sent: dict[_Key, Credentials] = {}
    for field in (AUTHORIZATION, PROXY_AUTHORIZATION):
        for credentials in request.headers.all(field):
            realm = credentials.params.get("realm")
            if credentials.scheme.lower() == "digest" and realm is not None:
                sent[field.name, realm] = credentials
    return sent


def _scopes(request: Request) -> tuple[tuple[str, str], ...]:
    """Where credentials hold: ("", Call-ID) for any kind, and the domain of a user or of a proxy for one kind."""
    routes = request.routes
    hop: Uri = routes[0].uri if routes else request.uri
    return (
        ("", request.call_id),
        (AUTHORIZATION.name, _domain(request.to.uri)),
        (PROXY_AUTHORIZATION.name, _domain(hop)),
    )


def _domain(uri: Uri) -> str:
    return uri.host.lower() if isinstance(uri, SipUri) else str(uri)
