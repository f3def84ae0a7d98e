"""Why something happened: Reason (RFC 3326), Warning (RFC 3261 §20.43)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ..errors import LocalProtocolError, ParseError
from ..grammar import NO_PARAMS, QUOTED_STRING, Params, checked_token, excerpt, quote, unquote
from .tokens import split_value

# warning-value  =  warn-code SP warn-agent SP warn-text
# warn-agent     =  hostport / pseudonym
_AGENT: Final = r"[-A-Za-z0-9.!%*_+`'~:\[\]]++"
_WARNING: Final = re.compile(rf"[ \t]*+([0-9]{{3}})[ \t]++({_AGENT})[ \t]++({QUOTED_STRING})[ \t]*+")
_WARN_AGENT: Final = re.compile(_AGENT)


class Reason(NamedTuple):
    """Why a request was sent: the protocol whose cause it gives ("SIP", "Q.850", ...), and the cause."""

    protocol: str
    params: Params = NO_PARAMS

    @property
    def cause(self) -> int | None:
        """The status code or Q.850 cause; None when there is none or it is no number."""
        value = self.params.get("cause")
        if value and len(value) <= 9 and value.isascii() and value.isdigit():
            return int(value)
        return None

    @property
    def text(self) -> str | None:
        """The cause in words."""
        return self.params.get("text")

    @classmethod
    def of(cls, protocol: str, cause: int, text: str | None = None) -> Reason:
        """A reason from its parts: `Reason.of("Q.850", 16, "Normal call clearing")`."""
        params = Params({"cause": str(cause)})
        return Reason(protocol, params if text is None else params.with_quoted("text", text))

    def __str__(self) -> str:
        params = self.params
        text = params.raw("text")
        if text and text[0] != '"':  # reason-text = "text" EQUAL quoted-string
            params = params.with_quoted("text", text)
        return f"{checked_token(self.protocol)}{params}"


class Warning(NamedTuple):
    """One warning: its code (3xx), who gives it, and what it says."""

    code: int
    agent: str
    text: str

    def __str__(self) -> str:
        if not 100 <= self.code <= 999 or _WARN_AGENT.fullmatch(self.agent) is None:
            raise LocalProtocolError(f"not a warning: {self.code} {excerpt(self.agent)}")
        return f"{self.code} {self.agent} {quote(self.text)}"


def parse_reason(text: str) -> Reason:
    """Parse `protocol *(SEMI reason-params)`."""
    protocol, params = split_value(text)
    return Reason(protocol, params)


def parse_warning(text: str) -> Warning:
    """Parse one warning-value."""
    match = _WARNING.fullmatch(text)
    if match is None:
        raise ParseError(f"malformed Warning: {excerpt(text)}")
    code = int(match[1])
    if code < 100:
        raise ParseError(f"not a warn-code: {excerpt(text)}")
    return Warning(code, match[2], unquote(match[3]))
