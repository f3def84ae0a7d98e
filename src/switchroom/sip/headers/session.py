"""Header fields of a session: Session-Expires and Min-SE (RFC 4028), Session-ID (RFC 7989), User-to-User (RFC 7433)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ..errors import LocalProtocolError, ParseError
from ..grammar import (
    NO_PARAMS,
    QUOTED_STRING,
    TOKEN,
    Params,
    checked_token,
    excerpt,
    is_token,
    parse_params,
    quote,
    split_params,
    unquote,
)
from .numbers import parse_seconds

NIL_SESSION_ID: Final = "0" * 32
"""The identifier of a side that has none yet (RFC 7989 §5)."""
_SESSION_ID: Final = re.compile(r"[0-9A-Fa-f]{32}")
_UUI: Final = re.compile(rf"[ \t]*+({TOKEN}|{QUOTED_STRING})[ \t]*+(?=;|\Z)")


class SessionExpires(NamedTuple):
    """How long a session lives without a refresh, in seconds, and who refreshes: "uac", "uas", None if open."""

    seconds: int
    refresher: str | None = None
    params: Params = NO_PARAMS
    """The other parameters."""

    def __str__(self) -> str:
        refresher = f";refresher={checked_token(self.refresher)}" if self.refresher else ""
        return f"{self.seconds}{refresher}{self.params}"


class MinSE(NamedTuple):
    """The shortest session interval that an element accepts, in seconds (RFC 4028 §5)."""

    seconds: int
    params: Params = NO_PARAMS

    def __str__(self) -> str:
        return f"{self.seconds}{self.params}"


class SessionId(NamedTuple):
    """The identifiers of a session end to end, 32 hexadecimal digits in lower case: the sender's and its peer's."""

    local: str
    remote: str | None = None
    params: Params = NO_PARAMS
    """The other parameters."""

    def __str__(self) -> str:
        if not _is_session_id(self.local) or not (self.remote is None or _is_session_id(self.remote)):
            raise LocalProtocolError(f"not a Session-ID: {self.local!r}, {self.remote!r}")
        remote = f";remote={self.remote}" if self.remote else ""
        return f"{self.local}{remote}{self.params}"


class UserToUser(NamedTuple):
    """Data that one user sends to the other with the call (RFC 7433 §4.1), decoded from its quotation if it has one."""

    data: str
    params: Params = NO_PARAMS

    @property
    def encoding(self) -> str:
        """How the data is to be read; "hex" is the default."""
        return (self.params.get("encoding") or "hex").lower()

    def __str__(self) -> str:
        return f"{self.data if is_token(self.data) else quote(self.data)}{self.params}"


def _is_session_id(text: str) -> bool:
    return _SESSION_ID.fullmatch(text) is not None


def parse_session_expires(text: str) -> SessionExpires:
    """Parse `delta-seconds *(SEMI se-params)`; ParseError for a refresher other than uac and uas."""
    seconds, params = split_params(text)
    refresher = params.get("refresher")
    if refresher is None:
        return SessionExpires(parse_seconds(seconds), None, params)
    refresher = refresher.lower()
    if refresher not in ("uac", "uas"):
        raise ParseError(f"a refresher is uac or uas: {excerpt(text)}")
    return SessionExpires(parse_seconds(seconds), refresher, params.without("refresher"))


def parse_min_se(text: str) -> MinSE:
    """Parse `delta-seconds *(SEMI generic-param)`."""
    seconds, params = split_params(text)
    return MinSE(parse_seconds(seconds), params)


def parse_session_id(text: str) -> SessionId:
    """Parse `local-uuid [SEMI "remote=" remote-uuid] *(SEMI generic-param)`; upper-case digits are taken too."""
    local, params = split_params(text)
    remote = params.get("remote")
    if not _is_session_id(local) or not (remote is None or _is_session_id(remote)):
        raise ParseError(f"not a Session-ID: {excerpt(text)}")
    if remote is None:
        return SessionId(local.lower(), None, params)
    return SessionId(local.lower(), remote.lower(), params.without("remote"))


def parse_user_to_user(text: str) -> UserToUser:
    """Parse `(token / quoted-string) *(SEMI uui-param)`."""
    match = _UUI.match(text)
    if match is None:
        raise ParseError(f"malformed User-to-User: {excerpt(text)}")
    return UserToUser(unquote(match[1]), parse_params(text[match.end() :]))
