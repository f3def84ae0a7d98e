"""Pointers to more: Alert-Info, Call-Info, Error-Info (RFC 3261 §20.4, §20.9, §20.18)."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import ParseError
from ..grammar import NO_PARAMS, Params, excerpt, parse_params
from ..uri import Uri, parse_uri


class Information(NamedTuple):
    """A URI in <>, and parameters that say what it is for."""

    uri: Uri
    params: Params = NO_PARAMS

    @property
    def purpose(self) -> str | None:
        """Of Call-Info: "icon", "info", "card" or another token, in lower case."""
        value = self.params.get("purpose")
        return value.lower() if value else None

    def __str__(self) -> str:
        return f"<{self.uri}>{self.params}"


def parse_information(text: str) -> Information:
    """Parse `LAQUOT absoluteURI RAQUOT *( SEMI generic-param )`."""
    text = text.strip(" \t")
    uri, bracket, params = text.partition(">")
    params = params.lstrip(" \t")
    if uri[:1] != "<" or not bracket or (params and params[0] != ";"):
        raise ParseError(f"not a URI in <>: {excerpt(text)}")
    return Information(parse_uri(uri[1:]), parse_params(params))
