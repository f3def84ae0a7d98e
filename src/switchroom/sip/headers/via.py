"""Via (RFC 3261 §20.42, RFC 3581)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ..errors import LocalProtocolError, ParseError
from ..grammar import NO_PARAMS, PLAIN_PARAMS, TOKEN, Params, excerpt, parse_params, split_plain_params
from ..host import is_host, is_ipv6_reference
from ..uri import parse_port

# via-parm          =  sent-protocol LWS sent-by *( SEMI via-params )
# sent-protocol     =  protocol-name SLASH protocol-version SLASH transport
# sent-by           =  host [ COLON port ]
_HOST: Final = r"[A-Za-z0-9_.-]++|\[[0-9A-Fa-f:.]++\]"
_PLAIN: Final = re.compile(rf"SIP/2\.0/({TOKEN}) ({_HOST})(?::([0-9]++))?({PLAIN_PARAMS})")
_SWS: Final = r"[ \t]*+"
_SPACED: Final = re.compile(
    rf"({TOKEN}){_SWS}/{_SWS}({TOKEN}){_SWS}/{_SWS}({TOKEN})[ \t]++({_HOST}){_SWS}(?::{_SWS}([0-9]++){_SWS})?"
)
VERSION: Final = "SIP/2.0"
MAGIC_COOKIE: Final = "z9hG4bK"


class Via(NamedTuple):
    """One hop that a request took: how it was sent, and where the response goes."""

    transport: str
    """ "UDP", "TCP", "TLS", "WS", "WSS" or another token, as written."""
    host: str
    """Of sent-by; an IPv6 address has no brackets."""
    port: int | None = None
    """Of sent-by, None when it names none."""
    params: Params = NO_PARAMS
    protocol: str = VERSION

    @property
    def branch(self) -> str | None:
        """The identifier of the transaction (§8.1.1.7)."""
        return self.params.get("branch")

    @property
    def received(self) -> str | None:
        """The address that the request came from, without brackets (§18.2.1)."""
        value = self.params.get("received")
        return value.strip("[]") if value else None

    @property
    def rport(self) -> int | None:
        """The port that the request came from (RFC 3581), None while the parameter is missing or still a flag."""
        value = self.params.get("rport")
        return parse_port(value) if value else None

    @property
    def maddr(self) -> str | None:
        """The address that the response goes to instead, without brackets (§18.1.1)."""
        value = self.params.get("maddr")
        return value.strip("[]") if value else None

    @property
    def ttl(self) -> int | None:
        """The time-to-live of multicast, 0 to 255."""
        value = self.params.get("ttl")
        return int(value) if value else None

    @property
    def sent_by(self) -> str:
        """`host[:port]`, with brackets around IPv6."""
        host, port = self.host, self.port
        if ":" in host:
            host = f"[{host}]"
        return host if port is None else f"{host}:{port}"

    def with_param(self, name: str, value: str | None = None) -> Via:
        """A copy with that parameter set; None makes it a flag."""
        return Via(self.transport, self.host, self.port, self.params.with_(name, value), self.protocol)

    def __str__(self) -> str:
        text = f"{self.protocol}/{self.transport} {self.sent_by}{self.params}"
        if _PLAIN.fullmatch(text) is None:
            _check(text)
        return text


def _check(text: str) -> None:
    """LocalProtocolError unless *text* could be parsed."""
    try:
        parse_via(text)
    except ParseError as error:
        raise LocalProtocolError(str(error)) from error


def parse_via(text: str) -> Via:
    """Parse one via-parm.

    The protocol is not judged here: what is not SIP/2.0 is for the caller to refuse (505).  ParseError for any other
    deviation, a port outside 1 to 65535 or a ttl above 255 among them.
    """
    match = _PLAIN.fullmatch(text)
    if match is not None:
        transport, host, port, plain = match.groups()
        params = split_plain_params(plain)
        protocol = VERSION
    else:
        text = text.strip(" \t")
        match = _SPACED.match(text)
        if match is None:
            raise ParseError(f"malformed Via: {excerpt(text)}")
        name, version, transport, host, port = match.groups()
        rest = text[match.end() :]
        if rest and rest[0] != ";":
            raise ParseError(f"malformed Via: {excerpt(text)}")
        params = parse_params(rest)
        protocol = f"{name}/{version}"
        if protocol.upper() == VERSION:
            protocol = VERSION
    if not is_host(host):
        if not is_ipv6_reference(host):
            raise ParseError(f"not a host in Via: {excerpt(host)}")
        host = host[1:-1]
    values = params._values
    if values.get("rport"):
        parse_port(params.get("rport") or "")
    if "ttl" in values:
        _check_ttl(values["ttl"])
    return Via(transport, host, None if port is None else parse_port(port), params, protocol)


def _check_ttl(ttl: str) -> None:
    if not (ttl.isascii() and ttl.isdigit() and len(ttl) <= 3 and int(ttl) <= 255):
        raise ParseError(f"not a ttl from 0 to 255: {excerpt(ttl)}")
