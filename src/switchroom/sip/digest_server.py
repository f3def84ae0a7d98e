"""Digest authentication: the side that challenges (RFC 3261 §22, RFC 7616, RFC 8760).

A nonce is signed, so issuing one costs no memory: `time.random.signature`.  Only a nonce that was used with the right
password gets an entry in a bounded table, which holds the window of its nonce counts; so whoever has no password can
neither fill the table nor use up another's nonce.

What makes a nonce stale, rather than wrong: a signature that is not ours (a restart with another key), its age, that
it was issued before this server started or not later than a nonce that the table had to drop (whether it was used
is not known any more), and, for credentials without qop, that it was used once.  RFC 2617 §3.2.1 would have `stale`
only when the digest is right; here it is said before the user is looked up, which tells an attacker nothing and costs
a client with a wrong password one more round.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from .digest import AUTH, AUTH_INT, MD5, base_algorithm, canonical_algorithm, digest_response, is_available
from .errors import LocalProtocolError, ParseError
from .grammar import quote, unquote
from .headers import AUTHORIZATION, PROXY_AUTHORIZATION
from .uri import parse_uri, unescape

if TYPE_CHECKING:
    from .grammar import Params
    from .headers import Credentials
    from .identifiers import Identifiers
    from .message import Request, Response

WINDOW: Final = 64
"""Nonce counts that may arrive out of order: a count this far below the highest one is taken for seen."""
_WINDOW_MASK: Final = (1 << WINDOW) - 1
_HEX: Final = frozenset("0123456789abcdefABCDEF")


class Accepted(NamedTuple):
    """The request comes from `username`."""

    username: str


class ChallengeNeeded(NamedTuple):
    """The request has no credentials for this realm, or (`stale`) its nonce is used up: answer with a challenge."""

    stale: bool = False


class Refused(NamedTuple):
    """The credentials are no good; `reason` is one of the constants below.

    `DigestServer.reject` knows the response for each.  WRONG stands for an unknown user and for a wrong password.
    """

    reason: str


Outcome = Accepted | ChallengeNeeded | Refused

WRONG: Final = "wrong credentials"
REPLAY: Final = "replay"
"""The nonce count was seen before."""
MALFORMED: Final = "malformed"
"""A parameter that must be there is not, or cannot be read: 400."""
OTHER_URI: Final = "other uri"
"""The credentials are for another Request-URI: 400 (RFC 2617 §3.2.2.5)."""
ALGORITHM: Final = "algorithm"
"""An algorithm that was not offered: an attempt at a downgrade, or a client that cannot do better."""
QOP: Final = "qop"
"""A quality of protection that was not offered, or none where one is required."""


class Claim(NamedTuple):
    """Credentials that are well-formed and fresh: look up the HA1 of `username` for `algorithm`, then `verify`.

    With `userhash` the username is H(username ":" realm) in `algorithm` (RFC 7616 §3.4.4).  `algorithm` is the base
    algorithm; `params` are those of the credentials.
    """

    username: str
    userhash: bool
    algorithm: str
    params: Params
    request: Request


class _Use:
    """How a nonce was used: its highest count, and a bit for each count of the window below that was seen."""

    __slots__ = ("cnonce", "highest", "issued", "seen")

    def __init__(self, issued: int, cnonce: str) -> None:
        self.issued = issued
        self.cnonce = cnonce
        self.highest = 0
        self.seen = 0

    def is_new(self, count: int) -> bool:
        """Whether *count* was not seen, for all that is known."""
        if count > self.highest:
            return True
        age = self.highest - count
        return age < WINDOW and not self.seen >> age & 1

    def mark(self, count: int) -> None:
        """Remember *count*."""
        if count > self.highest:
            shift = count - self.highest
            self.seen = (self.seen << shift | 1) & _WINDOW_MASK if shift < WINDOW else 1
            self.highest = count
        else:
            self.seen |= 1 << self.highest - count


class DigestServerSettings(NamedTuple):
    """What a `DigestServer` offers and accepts."""

    algorithms: tuple[str, ...] = (MD5,)
    """Offered, in this order of preference, each in a challenge of its own (RFC 8760 §2.3); no others are accepted."""
    qops: tuple[str, ...] = (AUTH,)
    """Offered; none: challenges as in RFC 2069, for peers that choke on qop."""
    require_qop: bool = False
    """Refuse credentials without qop although it was offered.  They are protected by using each nonce once."""
    nonce_lifetime: float = 300.0
    """Seconds from issue to stale."""
    used_nonces: int = 65_536
    """Entries of the table of nonce counts; beyond it the least recently used is dropped."""
    check_uri: bool = True
    """Refuse credentials whose uri is not the Request-URI.  RFC 3261 §22.4 leaves it open, because a proxy on the way
    may have changed the Request-URI; turn it off behind such a proxy."""
    userhash: bool = False
    """Tell clients that they may hash the username; the look-up must then find users by `Claim.username` too."""


_DEFAULT_SETTINGS: Final = DigestServerSettings()


class DigestServer:
    """Challenges requests and checks what comes back, for one realm.

    `key` signs the nonces (32 random octets).  Servers that share it accept each other's nonces, and then a replay at
    another server goes unnoticed while the nonce lives.  `wall` is the time of day.  `proxy` chooses 407 over 401.

    Look-ups may take time, so checking has two steps: `claim`, then `verify` with the HA1 that was found (None for an
    unknown user, which costs the same work).  `check` does both.
    """

    def __init__(
        self,
        realm: str,
        key: bytes,
        ids: Identifiers,
        wall: Callable[[], float],
        *,
        proxy: bool = False,
        settings: DigestServerSettings = _DEFAULT_SETTINGS,
    ) -> None:
        if len(key) < 16:
            raise LocalProtocolError("the key that signs nonces needs at least 16 random octets")
        for name in settings.algorithms:
            if canonical_algorithm(name) != name or not is_available(name):
                raise LocalProtocolError(f"digest algorithm {name!r} is unknown, or not provided by this Python")
        if not settings.algorithms or not set(settings.qops) <= {AUTH, AUTH_INT}:
            raise LocalProtocolError("a digest server needs an algorithm, and knows the qop values auth and auth-int")
        self.realm = realm
        self.proxy = proxy
        self.settings = settings
        self._key = key
        self._ids = ids
        self._wall = wall
        self._uses: OrderedDict[str, _Use] = OrderedDict()
        # What was used before the start is not known, so nothing from before is fresh.
        self._forgotten_until = int(wall() * 1000) - 1
        self._dummy = {base_algorithm(name): self._sign(name, 64) for name in settings.algorithms}

    def __len__(self) -> int:
        """Entries in the table of nonce counts."""
        return len(self._uses)

    # -- challenging ---------------------------------------------------------------------------------------------------

    def challenges(self, *, stale: bool = False) -> list[tuple[str, str]]:
        """The header fields of a challenge: one per algorithm, with a nonce in common (RFC 8760 §2.4)."""
        name = "Proxy-Authenticate" if self.proxy else "WWW-Authenticate"
        nonce = self._new_nonce()
        settings = self.settings
        lines = []
        for algorithm in settings.algorithms:
            parts = [f"realm={quote(self.realm)}", f'nonce="{nonce}"']
            if stale:
                parts.append("stale=true")
            parts.append(f"algorithm={algorithm}")
            if settings.qops:
                parts.append(f'qop="{",".join(settings.qops)}"')
            if settings.userhash:
                parts.append("userhash=true")
            lines.append((name, "Digest " + ", ".join(parts)))
        return lines

    def challenge(self, request: Request, *, stale: bool = False) -> Response:
        """A 401, or 407 of a proxy, to *request*."""
        return request.create_response(407 if self.proxy else 401, headers=self.challenges(stale=stale))

    def reject(self, request: Request, outcome: ChallengeNeeded | Refused) -> Response:
        """The response that *outcome* owes: 400, or a challenge.

        A replay is challenged with stale=true: the rightful client whose request came twice goes on with a new nonce,
        the other cannot.
        """
        if isinstance(outcome, ChallengeNeeded):
            return self.challenge(request, stale=outcome.stale)
        if outcome.reason in (MALFORMED, OTHER_URI):
            return request.create_response(400, f"Bad Credentials ({outcome.reason})")
        return self.challenge(request, stale=outcome.reason == REPLAY)

    # -- checking ------------------------------------------------------------------------------------------------------

    def check(self, request: Request, lookup: Callable[[Claim], str | None]) -> Outcome:
        """`claim` and `verify` in one, where the HA1 is at hand."""
        claim = self.claim(request)
        return self.verify(claim, lookup(claim)) if isinstance(claim, Claim) else claim

    def claim(self, request: Request) -> Claim | ChallengeNeeded | Refused:
        """Find the credentials for this realm, and check all that needs no secret of the user."""
        try:
            found = self._find(request)
        except ParseError:
            return Refused(MALFORMED)
        if found is None:
            return ChallengeNeeded()
        params = found.params
        username, nonce, uri = _username(params), params.get("nonce"), params.get("uri")
        if not username or not nonce or not uri or not params.get("response"):
            return Refused(MALFORMED)
        algorithm = canonical_algorithm(params.get("algorithm"))
        if algorithm is None or algorithm not in self.settings.algorithms:
            return Refused(ALGORITHM)
        qop = (params.get("qop") or "").lower()
        if qop not in self.settings.qops if qop else self.settings.require_qop:
            return Refused(QOP)
        count = _count(params)
        if qop and (count is None or not params.get("cnonce")):
            return Refused(MALFORMED)
        if self.settings.check_uri and not _same_uri(uri, request):
            return Refused(OTHER_URI)
        freshness = self._freshness(nonce, count if qop else None)
        if freshness is not None:
            return freshness
        hashed = (params.get("userhash") or "").lower() == "true"
        return Claim(username, hashed, base_algorithm(algorithm), params, request)

    def verify(self, claim: Claim, ha1: str | None, username: str | None = None) -> Outcome:
        """Check the password by its HA1, and use up the nonce count.

        `username` is who a claim with a userhash turned out to be.
        """
        params = claim.params
        nonce = params.get("nonce") or ""
        qop = (params.get("qop") or "").lower()
        # Again, since another request may have been verified during the look-up.
        freshness = self._freshness(nonce, _count(params) if qop else None)
        if freshness is not None:
            return freshness
        expected = self._expected(claim, ha1 or self._dummy[claim.algorithm], claim.request.method, claim.request.body)
        given = (params.get("response") or "").lower().encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, expected.encode()) or ha1 is None:
            return Refused(WRONG)
        self._use(nonce, _count(params) if qop else None, params.get("cnonce") or "")
        return Accepted(username or claim.username)

    def authentication_info(self, claim: Claim, ha1: str, body: bytes = b"", *, renew: bool = False) -> tuple[str, str]:
        """The header field that proves to the client that we know its password (RFC 7616 §3.5), for the 2xx.

        `body` is that of the response; with `renew` the client gets its next nonce without a challenge.
        """
        params = claim.params
        parts = [f'nextnonce="{self._new_nonce()}"'] if renew else []
        qop = params.get("qop")
        if qop:
            parts.append(f"qop={qop.lower()}")
            parts.append(f'rspauth="{self._expected(claim, ha1, "", body)}"')
            parts.append(f"cnonce={quote(params.get('cnonce') or '')}")
            parts.append(f"nc={params.get('nc')}")
        else:
            parts.append(f'rspauth="{self._expected(claim, ha1, "", body)}"')
        return ("Proxy-Authentication-Info" if self.proxy else "Authentication-Info", ", ".join(parts))

    # -- inside --------------------------------------------------------------------------------------------------------

    def _find(self, request: Request) -> Credentials | None:
        field = PROXY_AUTHORIZATION if self.proxy else AUTHORIZATION
        for credentials in request.headers.all(field):
            if credentials.scheme.lower() == "digest" and credentials.params.get("realm") == self.realm:
                return credentials
        return None

    def _expected(self, claim: Claim, ha1: str, method: str, body: bytes) -> str:
        params = claim.params
        nonce = params.get("nonce") or ""
        use = self._uses.get(nonce)
        return digest_response(
            ha1,
            canonical_algorithm(params.get("algorithm")) or MD5,
            method,
            params.get("uri") or "",
            nonce,
            qop=(params.get("qop") or "").lower(),
            nc=params.get("nc") or "",
            cnonce=params.get("cnonce") or "",
            body=body,
            session_cnonce=use.cnonce if use is not None else None,
        )

    def _sign(self, text: str, digits: int = 32) -> str:
        signed = f"{self.proxy}\0{self.realm}\0{text}".encode("utf-8", "surrogateescape")
        return hmac.digest(self._key, signed, "sha256").hex()[:digits]

    def _new_nonce(self) -> str:
        issued = f"{int(self._wall() * 1000):x}.{self._ids.token()}"
        return f"{issued}.{self._sign(issued)}"

    def _issued(self, nonce: str) -> int | None:
        """When a nonce of ours was issued, in milliseconds; None for any other text."""
        issued, _, signature = nonce.rpartition(".")
        if not hmac.compare_digest(signature.encode("utf-8", "surrogateescape"), self._sign(issued).encode()):
            return None
        return int(issued.partition(".")[0], 16)

    def _freshness(self, nonce: str, count: int | None) -> ChallengeNeeded | Refused | None:
        """What is wrong with the nonce, or with its count (None: credentials without qop)."""
        issued = self._issued(nonce)
        if issued is None:
            return ChallengeNeeded(stale=True)
        age = self._wall() - issued / 1000
        if age > self.settings.nonce_lifetime or age < -self.settings.nonce_lifetime:
            return ChallengeNeeded(stale=True)
        use = self._uses.get(nonce)
        if use is None:
            return ChallengeNeeded(stale=True) if issued <= self._forgotten_until else None
        if count is None:
            return ChallengeNeeded(stale=True)
        return None if use.is_new(count) else Refused(REPLAY)

    def _use(self, nonce: str, count: int | None, cnonce: str) -> None:
        use = self._uses.get(nonce)
        if use is None:
            use = self._uses[nonce] = _Use(self._issued(nonce) or 0, cnonce)
        else:
            self._uses.move_to_end(nonce)
        if count is not None:
            use.mark(count)
        self._forget()

    def _forget(self) -> None:
        """Drop what is over the bound, and what has expired at the old end."""
        expired = int((self._wall() - self.settings.nonce_lifetime) * 1000)
        while self._uses:
            nonce, use = next(iter(self._uses.items()))
            if len(self._uses) > self.settings.used_nonces:
                self._forgotten_until = max(self._forgotten_until, use.issued)
            elif use.issued >= expired:
                return
            del self._uses[nonce]


def _username(params: Params) -> str | None:
    """`username`, or `username*` in its extended notation (RFC 7616 §3.4, RFC 8187)."""
    extended = params.get("username*")
    if extended is None:
        return params.get("username")
    charset, _, rest = unquote(extended).partition("'")
    _, quotation, text = rest.partition("'")
    return unescape(text) if charset.lower() == "utf-8" and quotation else None


def _count(params: Params) -> int | None:
    """The nonce count: 8LHEX (RFC 7616 §3.4); shorter ones are seen."""
    text = params.get("nc") or ""
    if not 0 < len(text) <= 8 or not _HEX.issuperset(text):
        return None
    return int(text, 16) or None


def _same_uri(uri: str, request: Request) -> bool:
    if uri == request.uri_text:
        return True
    try:
        return parse_uri(uri) == request.uri
    except ParseError:
        return False
