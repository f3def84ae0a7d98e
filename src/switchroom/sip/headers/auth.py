"""Challenges, credentials and Authentication-Info (RFC 3261 §20.6, §20.7, §20.44; RFC 7616; RFC 8760)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ..errors import LocalProtocolError, ParseError
from ..grammar import NO_PARAMS, QUOTED_STRING, TOKEN, Params, excerpt, is_token, quote

# challenge   =  ("Digest" LWS digest-cln *(COMMA digest-cln)) / other-challenge
# credentials =  ("Digest" LWS digest-response) / other-response
# auth-param  =  auth-param-name EQUAL ( token / quoted-string )
# An unquoted value may hold what base64 and URIs are made of, because peers leave out quotation marks.
_AUTH_PARAM: Final = re.compile(
    rf"[ \t]*+({TOKEN})[ \t]*+=[ \t]*+({QUOTED_STRING}|[^\x00-\x20\x7f\",;<>\\]*+)[ \t]*+(?:(,)|\Z)"
)
_SCHEME: Final = re.compile(rf"({TOKEN})[ \t]++")
_TOKEN68: Final = re.compile(r"[A-Za-z0-9._~+/-]++=*+")

# How the parameters of the digest scheme are written: these without quotation marks...
_BARE: Final = frozenset(("algorithm", "stale", "nc", "userhash", "charset"))
# ... these with, in a challenge ...
_QUOTED_IN_CHALLENGE: Final = frozenset(("realm", "domain", "nonce", "opaque", "qop"))
# ... in credentials, where qop is a choice and no longer a list ...
_QUOTED_IN_CREDENTIALS: Final = frozenset(("username", "realm", "nonce", "uri", "response", "cnonce", "opaque"))
# ... and in Authentication-Info.
_QUOTED_IN_INFO: Final = frozenset(("nextnonce", "rspauth", "cnonce"))


class Challenge(NamedTuple):
    """A WWW-Authenticate or Proxy-Authenticate value.

    `params` are looked up decoded; rendering puts quotation marks where the digest scheme has them, and keeps others
    as they were.  `token68` is what a scheme other than digest may have in place of parameters (RFC 7235 §2.1).
    """

    scheme: str
    params: Params = NO_PARAMS
    token68: str = ""

    def get(self, name: str) -> str | None:
        """The decoded value of a parameter."""
        return self.params.get(name)

    def __str__(self) -> str:
        return _render(self.scheme, self.params, self.token68, _QUOTED_IN_CHALLENGE)


class Credentials(NamedTuple):
    """An Authorization or Proxy-Authorization value; see `Challenge` for the fields."""

    scheme: str
    params: Params = NO_PARAMS
    token68: str = ""

    def get(self, name: str) -> str | None:
        """The decoded value of a parameter."""
        return self.params.get(name)

    def __str__(self) -> str:
        return _render(self.scheme, self.params, self.token68, _QUOTED_IN_CREDENTIALS)


class AuthenticationInfo(NamedTuple):
    """What a server says after successful authentication: nextnonce, rspauth and so on (RFC 3261 §20.6)."""

    params: Params

    def get(self, name: str) -> str | None:
        """The decoded value of a parameter."""
        return self.params.get(name)

    def __str__(self) -> str:
        return _render_params(self.params, True, _QUOTED_IN_INFO)


def _render(scheme: str, params: Params, token68: str, quoted: frozenset[str]) -> str:
    if not is_token(scheme):
        raise LocalProtocolError(f"not an authentication scheme: {excerpt(scheme)}")
    if token68:
        if params or _TOKEN68.fullmatch(token68) is None:
            raise LocalProtocolError("credentials have either parameters or one token68")
        return f"{scheme} {token68}"
    if not params:
        raise LocalProtocolError("a challenge or credentials without parameters")
    return f"{scheme} {_render_params(params, scheme.lower() == 'digest', quoted)}"


def _render_params(params: Params, digest: bool, quoted: frozenset[str]) -> str:
    items: list[str] = []
    for name, value in params.items():
        key = name.lower()
        if digest and key in quoted:
            items.append(f"{name}={quote(value)}")
        elif is_token(value) and ((digest and (key in _BARE or key == "qop")) or (params.raw(name) or "")[:1] != '"'):
            items.append(f"{name}={value}")
        else:
            items.append(f"{name}={quote(value)}")
    return ", ".join(items)


def _parse_auth_params(text: str) -> Params:
    params = Params()
    position = 0
    more = True
    while more:
        match = _AUTH_PARAM.match(text, position)
        if match is None:
            raise ParseError(f"malformed authentication parameter: {excerpt(text[position:])}")
        params._add_raw(match[1], match[2] or '""')
        position = match.end()
        more = match[3] is not None
    return params


def _split_scheme(text: str) -> tuple[str, Params, str]:
    text = text.strip(" \t")
    match = _SCHEME.match(text)
    if match is None:
        raise ParseError(f"not an authentication scheme with parameters: {excerpt(text)}")
    scheme = match[1]
    rest = text[match.end() :]
    if scheme.lower() != "digest" and _TOKEN68.fullmatch(rest) is not None:
        return scheme, NO_PARAMS, rest
    return scheme, _parse_auth_params(rest), ""


def parse_challenge(text: str) -> Challenge:
    """Parse one challenge.  Which parameters a scheme needs is for the digest machine to say."""
    scheme, params, token68 = _split_scheme(text)
    return Challenge(scheme, params, token68)


def parse_credentials(text: str) -> Credentials:
    """Parse one set of credentials, of any scheme (RFC 4475 §3.3.7).  ParseError for a repeated parameter."""
    scheme, params, token68 = _split_scheme(text)
    return Credentials(scheme, params, token68)


def parse_authentication_info(text: str) -> AuthenticationInfo:
    """Parse `ainfo *(COMMA ainfo)`."""
    return AuthenticationInfo(_parse_auth_params(text.strip(" \t")))
