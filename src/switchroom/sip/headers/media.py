"""What a body is: Content-Type, Accept, Content-Disposition (RFC 3261 §20.1, §20.11, §20.15)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ..errors import ParseError
from ..grammar import NO_PARAMS, TOKEN, Params, checked_token, excerpt, parse_params
from .address import parse_q
from .tokens import split_value

# media-type = m-type SLASH m-subtype *(SEMI m-parameter); media-range adds "*/*" and m-type "/*", which are tokens too
_MEDIA_TYPE: Final = re.compile(rf"[ \t]*+({TOKEN})[ \t]*+/[ \t]*+({TOKEN})[ \t]*+(?=;|\Z)")


class MediaType(NamedTuple):
    """A media type or, in Accept, a range of them; type and subtype are in lower case."""

    type: str
    subtype: str
    params: Params = NO_PARAMS

    @property
    def essence(self) -> str:
        """ "type/subtype"."""
        return f"{self.type}/{self.subtype}"

    @property
    def charset(self) -> str | None:
        """The charset parameter."""
        return self.params.get("charset")

    @property
    def boundary(self) -> str | None:
        """The boundary of a multipart body (RFC 2046 §5.1.1)."""
        return self.params.get("boundary")

    @property
    def q(self) -> float:
        """The preference of a range in Accept, 0 to 1."""
        return parse_q(self.params.get("q"))

    def includes(self, other: MediaType) -> bool:
        """Whether this range takes in *other*, parameters aside."""
        if self.type == "*" and self.subtype == "*":
            return True
        return self.type == other.type and self.subtype in ("*", other.subtype)

    def __str__(self) -> str:
        return f"{checked_token(self.type)}/{checked_token(self.subtype)}{self.params}"


class Disposition(NamedTuple):
    """How a body is to be treated: "session", "render", "early-session" ... in lower case."""

    kind: str
    params: Params = NO_PARAMS

    @property
    def handling(self) -> str:
        """ "optional", or "required", which is the default (§20.11)."""
        return (self.params.get("handling") or "required").lower()

    def __str__(self) -> str:
        return f"{checked_token(self.kind)}{self.params}"


def parse_media_type(text: str) -> MediaType:
    """Parse a media type or range."""
    match = _MEDIA_TYPE.match(text)
    if match is None:
        raise ParseError(f"not a media type: {excerpt(text)}")
    return MediaType(match[1].lower(), match[2].lower(), parse_params(text[match.end() :]))


def parse_disposition(text: str) -> Disposition:
    """Parse a Content-Disposition."""
    kind, params = split_value(text)
    return Disposition(kind.lower(), params)
