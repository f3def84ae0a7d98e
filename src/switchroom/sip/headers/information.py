"""Pointers to more: Alert-Info, Call-Info, Error-Info (RFC 3261 §20.4, §20.9, §20.18)."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import LocalProtocolError, ParseError
from ..grammar import NO_PARAMS, Params, excerpt, is_token, parse_params
from ..uri import Uri, parse_uri


class Information(NamedTuple):
    """A URI in <>, and parameters that say what it is for.

    There is no URI in what many phones understand, and their servers send: `Alert-Info: info=alert-autoanswer`.
    """

    uri: Uri | None
    params: Params = NO_PARAMS

    @property
    def purpose(self) -> str | None:
        """Of Call-Info: "icon", "info", "card" or another token, in lower case."""
        value = self.params.get("purpose")
        return value.lower() if value else None

    def __str__(self) -> str:
        if self.uri is None:
            if not self.params:
                raise LocalProtocolError("neither a URI nor parameters")
            return str(self.params)[1:]
        return f"<{self.uri}>{self.params}"


def parse_information(text: str) -> Information:
    """Parse `LAQUOT absoluteURI RAQUOT *( SEMI generic-param )`."""
    text = text.strip(" \t")
    uri, bracket, params = text.partition(">")
    params = params.lstrip(" \t")
    if uri[:1] != "<" or not bracket or (params and params[0] != ";"):
        raise ParseError(f"not a URI in <>: {excerpt(text)}")
    return Information(parse_uri(uri[1:]), parse_params(params))


def parse_loose_information(text: str) -> Information:
    """As `parse_information`, but the <> may be missing, and a word or parameters may stand alone.

    Alert-Info and Call-Info select a ring tone or make a phone answer by itself, and are mostly written so:
    `info=alert-autoanswer`, `answer-after=0`, `Bellcore-dr4`.  A word reads as a parameter without a value.
    """
    text = text.strip(" \t")
    if text[:1] == "<":
        subject, bracket, params = text[1:].partition(">")
        params = params.lstrip(" \t")
        if not bracket or (params and params[0] != ";"):
            raise ParseError(f"not a URI in <>: {excerpt(text)}")
    else:
        subject, semicolon, params = text.partition(";")
        params = semicolon + params
    scheme, colon, _ = subject.partition(":")
    if colon and is_token(scheme):
        return Information(parse_uri(subject.rstrip(" \t")), parse_params(params))
    information = Information(None, parse_params(subject + params))
    if not information.params:
        raise ParseError(f"neither a URI nor parameters: {excerpt(text)}")
    return information
