"""Addresses: From, To, Contact, Route and all the others of the form `"name" <uri>;params` (RFC 3261 §20.10)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ..errors import ParseError
from ..grammar import (
    NO_PARAMS,
    PLAIN_PARAMS,
    Params,
    end_of_quoted_string,
    excerpt,
    parse_params,
    quote,
    split_plain_params,
    unquote,
)
from ..uri import OpaqueUri, SipUri, Uri, parse_uri
from .numbers import parse_expires

# name-addr      =  [ display-name ] LAQUOT addr-spec RAQUOT
# display-name   =  *( token LWS ) / quoted-string
# Characters outside ASCII are taken in an unquoted display name, though only a quoted one may have them.
DISPLAY_NAME: Final = r"[-A-Za-z0-9.!%*_+`'~ \t\u0080-\U0010ffff]*+"
_QUOTED: Final = r'[^"\\\x00-\x1f\x7f]*+'
QUOTED_DISPLAY_NAME: Final = f'"{_QUOTED}"'
"""Without quoted-pairs."""
_PLAIN: Final = re.compile(rf'(?:"({_QUOTED})" ?|({DISPLAY_NAME}))<([^<>"\s]++)>({PLAIN_PARAMS})')
_DISPLAY_NAME: Final = re.compile(DISPLAY_NAME)


class Address(NamedTuple):
    """An address: display name ("" for none, decoded), URI, and the parameters of the header field."""

    display_name: str
    uri: Uri
    params: Params = NO_PARAMS

    @property
    def tag(self) -> str | None:
        """The tag of a From or To (§19.3)."""
        return self.params.get("tag")

    @property
    def q(self) -> float:
        """The preference of a Contact, 0 to 1; 1 when it names none or is malformed."""
        return parse_q(self.params.get("q"))

    @property
    def expires(self) -> int | None:
        """The expires parameter of a Contact, in seconds; 3600 when malformed (§20.10), None when there is none."""
        value = self.params.get("expires")
        return None if value is None else parse_expires(value)

    def with_param(self, name: str, value: str | None = None) -> Address:
        """A copy with that header parameter set; None makes it a flag."""
        return Address(self.display_name, self.uri, self.params.with_(name, value))

    def without_param(self, name: str) -> Address:
        """A copy without that header parameter."""
        return Address(self.display_name, self.uri, self.params.without(name))

    def with_tag(self, tag: str) -> Address:
        """A copy with that tag."""
        return Address(self.display_name, self.uri, self.params.with_("tag", tag))

    def __str__(self) -> str:
        if self.uri is _STAR_URI:
            return "*"
        name = self.display_name
        return f"{quote(name)} <{self.uri}>{self.params}" if name else f"<{self.uri}>{self.params}"


_STAR_URI: Final = OpaqueUri("any", "*")
STAR: Final = Address("", _STAR_URI)
"""The Contact `*`, which stands for all bindings of an address of record (§10.2.2)."""


def parse_q(text: str | None) -> float:
    """The qvalue that *text* stands for, 0 to 1 with at most three decimals; 1 when it is none (§20.10)."""
    if text is not None and _QVALUE.fullmatch(text) is not None:
        return float(text)
    return 1.0


# qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )
_QVALUE: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


def parse_address(text: str) -> Address:
    """Parse `name-addr / addr-spec`, and parameters.

    Without <>, what follows a semicolon belongs to the header field and not to the URI, and a URI with a comma or a
    question mark is refused (§20.10).
    """
    match = _PLAIN.fullmatch(text)
    if match is not None:
        quoted, tokens, uri, params = match.groups()
        return Address(
            quoted or (_collapse(tokens) if tokens else ""),
            parse_uri(uri),
            split_plain_params(params) if params else NO_PARAMS,
        )
    return _parse_spaced(text.strip(" \t"))


def _collapse(tokens: str) -> str:
    """The tokens of a display name with one space between them."""
    tokens = tokens.strip(" \t")
    if "  " in tokens or "\t" in tokens:
        tokens = " ".join([token for token in tokens.replace("\t", " ").split(" ") if token])
    return tokens


def _parse_spaced(text: str) -> Address:
    if text.startswith('"'):
        end = end_of_quoted_string(text, 0)
        name = unquote(text[:end])
        rest = text[end:].lstrip(" \t")
        if not rest.startswith("<"):
            raise ParseError(f"a display name without <> after it: {excerpt(text)}")
    else:
        match = _DISPLAY_NAME.match(text)
        assert match is not None  # it matches the empty string
        rest = text[match.end() :]
        if not rest.startswith("<"):
            return _parse_addr_spec(text)
        name = _collapse(match[0])
    uri, bracket, params = rest[1:].partition(">")
    params = params.lstrip(" \t")
    if not bracket or (params and params[0] != ";"):
        raise ParseError(f"malformed address: {excerpt(text)}")
    return Address(name, parse_uri(uri), parse_params(params))


def _parse_addr_spec(text: str) -> Address:
    uri, _, params = text.partition(";")
    uri = uri.rstrip(" \t")
    if "," in uri or "?" in uri:
        raise ParseError(f"a URI with a comma or question mark needs <> (RFC 3261 §20.10): {excerpt(text)}")
    if params:
        return Address("", parse_uri(uri), parse_params(params))
    if ";" in text:
        raise ParseError(f"malformed parameter at the end: {excerpt(text)}")
    return Address("", parse_uri(uri))


def parse_contact(text: str) -> Address:
    """Parse one Contact; `*` is `STAR`."""
    return STAR if text.strip(" \t") == "*" else parse_address(text)


def parse_name_addr(text: str) -> Address:
    """Parse an address that must stand in <>: Route, Record-Route, Path, Service-Route, History-Info, Diversion."""
    address = parse_address(text)
    if "<" not in text:
        raise ParseError(f"an address without <>: {excerpt(text)}")
    return address


def parse_route(text: str) -> Address:
    """Parse a Route or Record-Route value, which must be a SIP or SIPS URI in <>."""
    address = parse_name_addr(text)
    if not isinstance(address.uri, SipUri):
        raise ParseError(f"a route that is no SIP URI: {excerpt(text)}")
    return address
