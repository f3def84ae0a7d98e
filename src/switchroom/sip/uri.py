"""SIP, SIPS and tel URIs, and any other URI as opaque text (RFC 3261 §19.1, RFC 3966)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from .errors import LocalProtocolError, ParseError
from .grammar import Params, excerpt
from .host import host_key, is_host, is_ipv6_reference

# user             =  1*( unreserved / escaped / user-unreserved )
# user-unreserved  =  "&" / "=" / "+" / "$" / "," / ";" / "?" / "/"
# password         =  *( unreserved / escaped / "&" / "=" / "+" / "$" / "," )
_UNRESERVED: Final = r"\-A-Za-z0-9_.!~*'()"
_USER: Final = rf"[{_UNRESERVED}&=+$,;?/%]++"
_PASSWORD: Final = rf"[{_UNRESERVED}&=+$,%]*+"
# uri-parameters    =  *( ";" pname [ "=" pvalue ] )
# paramchar         =  param-unreserved / unreserved / escaped
# param-unreserved  =  "[" / "]" / "/" / ":" / "&" / "+" / "$"
_PARAMCHARS: Final = rf"[{_UNRESERVED}\[\]/:&+$%]++"
# headers         =  "?" header *( "&" header )
# header          =  hname "=" hvalue
# hnv-unreserved  =  "[" / "]" / "/" / "?" / ":" / "+" / "$"
_HNV: Final = rf"[{_UNRESERVED}\[\]/?:+$%]"
_HEADERS: Final = rf"\?{_HNV}++={_HNV}*+(?:&{_HNV}++={_HNV}*+)*+"
# The host is only delimited here; is_host says whether it is one.
_SIP_URI: Final = re.compile(
    rf"([Ss][Ii][Pp][Ss]?):(?:({_USER})(?::({_PASSWORD}))?@)?"
    r"([A-Za-z0-9_.-]++|\[[0-9A-Fa-f:.]++\])(?::([0-9]++))?"
    rf"((?:;{_PARAMCHARS}(?:={_PARAMCHARS})?)*+)({_HEADERS})?"
)
# The form that most have; the host is group 1 of its own, for is_host to judge.  A sole parameter is not repeated.
PLAIN_SIP_URI: Final = (
    rf"sips?:(?:[{_UNRESERVED}&=+$,;?/]++@)?([A-Za-z0-9_.-]++)(?::(?:[1-5][0-9]{{4}}|[1-9][0-9]{{0,3}}))?"
    rf"(?:;[a-z-]++(?:=[{_UNRESERVED}]++)?)?"
)
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPES: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})++")
_UNRESERVED_CHARACTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()")

_NOT_USER: Final = re.compile(rf"[^{_UNRESERVED}&=+$,;?/]")
_NOT_USER_OR_ESCAPE: Final = re.compile(rf"[^{_UNRESERVED}&=+$,;?/%]")
_NOT_PASSWORD: Final = re.compile(rf"[^{_UNRESERVED}&=+$,]")
_NOT_PARAM: Final = re.compile(rf"[^{_UNRESERVED}\[\]/:&+$]")
_NOT_HNV: Final = re.compile(rf"[^{_UNRESERVED}\[\]/?:+$]")

# scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." ); what follows is any visible ASCII but the delimiters of RFC 2396.
_ABSOLUTE_URI: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*+):([!#-;=?-\[\]_a-z~]++)")

# telephone-subscriber (RFC 3966 §3); a local number must have a phone-context.
_TELEPHONE_SUBSCRIBER: Final = re.compile(
    r"(\+(?=[.()-]*+[0-9])[0-9.()-]++|(?=[.()-]*+[0-9A-Fa-f*#])[0-9A-Fa-f*#.()-]++)"
    rf"((?:;[A-Za-z0-9-]++(?:={_PARAMCHARS})?)*+)"
)
_SEPARATORS: Final = str.maketrans("", "", "-.()")


def _escape_match(match: re.Match[str]) -> str:
    try:
        octets = match[0].encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"text that is no Unicode: {excerpt(match[0])}") from error
    return "".join([f"%{octet:02X}" for octet in octets])


def _unescape_match(match: re.Match[str]) -> str:
    return bytes.fromhex(match[0].replace("%", "")).decode("utf-8", "surrogateescape")


def _normalize_match(match: re.Match[str]) -> str:
    normal = ""
    for hexadecimal in match[0][1:].split("%"):
        character = chr(int(hexadecimal, 16))
        normal += character if character in _UNRESERVED_CHARACTERS else "%" + hexadecimal.upper()
    return normal


def unescape(text: str) -> str:
    """*text* with its %-escapes decoded, once, as UTF-8 with surrogateescape."""
    return _ESCAPES.sub(_unescape_match, text) if "%" in text else text


def _normal(text: str) -> str:
    """The form in which two escaped texts are compared.

    Escapes of characters that need none are decoded, and the others are put in upper case: an escaped reserved
    character is not the bare one (RFC 3261 §19.1.4), and what else is escaped cannot stand bare at all.
    """
    return _ESCAPES.sub(_normalize_match, text) if "%" in text else text


class UriParams(Params):
    """Parameters of a SIP or SIPS URI: as `Params`, but values and names are %-escaped instead of quoted (§19.1.1)."""

    __slots__ = ()

    def _put(self, name: str, value: str | None) -> None:
        if not name:
            raise LocalProtocolError("a URI parameter needs a name")
        key = name.lower()
        written = _NOT_PARAM.sub(_escape_match, name)
        known = key in self._values
        self._values[key] = self._encode(value) if value else ""
        if key != written and not known:
            if self._names is None:
                self._names = {}
            self._names[key] = written

    def _encode(self, value: str) -> str:
        return _NOT_PARAM.sub(_escape_match, value)

    def _decode(self, value: str) -> str:
        return unescape(value)

    def _empty(self) -> Params:
        return UriParams()


NO_URI_PARAMS: Final = UriParams()
UriHeaders = tuple[tuple[str, str], ...]


class SipUri:
    """A `sip:` or `sips:` URI; immutable.

    `user` and `password` are decoded ("%40" reads "@"), None when absent.  `host` of an IPv6 reference has no
    brackets.  `port` is None when the URI does not name one.  `headers` are decoded (name, value) pairs.

    Two are equal by RFC 3261 §19.1.4, which is not transitive: parameters other than transport, user, ttl, method and
    maddr that only one of them has do not count.  `str()` gives back the text that was parsed, or escapes what must be.
    """

    __slots__ = ("_headers", "_host", "_params", "_password", "_port", "_scheme", "_text", "_user")

    def __init__(
        self,
        scheme: str,
        user: str | None,
        password: str | None,
        host: str,
        port: int | None = None,
        params: Params = NO_URI_PARAMS,
        headers: Iterable[tuple[str, str]] = (),
        _text: str = "",
    ) -> None:
        if _text:  # by parse_uri: all is checked, and user and password are escaped
            self._scheme: str = scheme
            self._user: str | None = user
            self._password: str | None = password
            self._host: str = host
            self._port: int | None = port
            self._params: Params = params
            self._headers: UriHeaders = tuple(headers)
            self._text: str = _text
            return
        if scheme != "sip" and scheme != "sips":
            raise LocalProtocolError(f"not the scheme of a SIP URI: {excerpt(scheme)}")
        if user == "" or (user is None and password is not None):
            raise LocalProtocolError("a SIP URI has no empty user, and no password without a user")
        if port is not None and not 0 < port < 65536:
            raise LocalProtocolError(f"not a port: {port}")
        if not is_host(host):
            raise LocalProtocolError(f"not a host: {excerpt(host)}")
        self._scheme = scheme
        self._user = None if user is None else _NOT_USER.sub(_escape_match, user)
        self._password = None if password is None else _NOT_PASSWORD.sub(_escape_match, password)
        self._host = host
        self._port = port
        self._params = params if isinstance(params, UriParams) else UriParams(params.items())
        self._headers = tuple(headers)
        self._text = ""

    @property
    def scheme(self) -> str:
        """ "sip" or "sips"."""
        return self._scheme

    @property
    def user(self) -> str | None:
        """The user part, decoded; it may hold any character, NUL included (RFC 4475 §3.1.1.4)."""
        return self._user if self._user is None or "%" not in self._user else unescape(self._user)

    @property
    def password(self) -> str | None:
        """The password, decoded."""
        return None if self._password is None else unescape(self._password)

    @property
    def host(self) -> str:
        """Host name, IPv4 address, or IPv6 address without brackets, as written."""
        return self._host

    @property
    def port(self) -> int | None:
        """The port if the URI names one: naming the default one is not the same as naming none."""
        return self._port

    @property
    def params(self) -> Params:
        """The URI parameters."""
        return self._params

    @property
    def headers(self) -> UriHeaders:
        """The header fields of a request made from this URI, decoded."""
        return self._headers

    @property
    def transport(self) -> str | None:
        """The transport parameter in lower case."""
        value = self._params.get("transport")
        return value.lower() if value else None

    @property
    def maddr(self) -> str | None:
        """The maddr parameter, without brackets."""
        value = self._params.get("maddr")
        return value.strip("[]") if value else None

    @property
    def lr(self) -> bool:
        """Whether the element is a loose router (§19.1.1)."""
        return "lr" in self._params

    @property
    def secure(self) -> bool:
        """Whether this is a SIPS URI."""
        return self._scheme == "sips"

    @property
    def host_port(self) -> str:
        """`hostport`: brackets around IPv6, and the port if there is one."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return host if self._port is None else f"{host}:{self._port}"

    @property
    def telephone_subscriber(self) -> TelUri | None:
        """The user part as a telephone number, if `user=phone` says that it is one and it is (§19.1.6)."""
        if self._user is None or (self._params.get("user") or "").lower() != "phone":
            return None
        number, semicolon, params = self._user.partition(";")
        try:
            return parse_telephone_subscriber(unescape(number) + semicolon + params)
        except ParseError:
            return None

    def replace(
        self,
        *,
        scheme: str | None = None,
        user: str | None = None,
        password: str | None = None,
        host: str | None = None,
        port: int | None = None,
        params: Params | None = None,
        headers: Iterable[tuple[str, str]] | None = None,
    ) -> SipUri:
        """A copy with other components; None keeps one.  Use `without` to remove one."""
        new_user = self.user if user is None else user
        new = SipUri(
            self._scheme if scheme is None else scheme,
            new_user,
            self.password if password is None else password,
            self._host if host is None else host,
            self._port if port is None else port,
            self._params if params is None else params,
            self._headers if headers is None else headers,
        )
        if user is None:
            new._user = self._user  # an escaped reserved character stays escaped
        if password is None:
            new._password = self._password
        return new

    def without(self, *components: str) -> SipUri:
        """A copy without the named components: "user" (and password), "password", "port", "params", "headers"."""
        new = self.replace()
        for component in components:
            if component == "user":
                new._user = new._password = None
            elif component == "password":
                new._password = None
            elif component == "port":
                new._port = None
            elif component == "params":
                new._params = NO_URI_PARAMS
            elif component == "headers":
                new._headers = ()
            else:
                raise LocalProtocolError(f"a SIP URI has no optional component {excerpt(component)}")
        return new

    def with_param(self, name: str, value: str | None = None) -> SipUri:
        """A copy with that URI parameter set; None makes it a flag."""
        return self.replace(params=self._params.with_(name, value))

    def canonical(self) -> str:
        """The index under which an address of record is looked up (RFC 3261 §10.3 step 5).

        Scheme, user, password, host and port without parameters and headers; nothing is escaped, the host is in
        lower case, and an IPv6 address in its shortest form.
        """
        user = self.user
        userinfo = ""
        if user is not None:
            userinfo = f"{user}@" if self._password is None else f"{user}:{self.password}@"
        host = host_key(self._host)
        if ":" in host:
            host = f"[{host}]"
        port = "" if self._port is None else f":{self._port}"
        return f"{self._scheme}:{userinfo}{host}{port}"

    def _identity(self) -> tuple[str, str | None, str | None, str, int | None]:
        return (
            self._scheme,
            None if self._user is None else _normal(self._user),
            None if self._password is None else _normal(self._password),
            host_key(self._host),
            self._port,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SipUri):
            return NotImplemented
        if self._identity() != other._identity():
            return False
        mine, theirs = self._params, other._params
        if (mine or theirs) and not _same_params(mine, theirs):
            return False
        return not (self._headers or other._headers) or _header_key(self._headers) == _header_key(other._headers)

    def __hash__(self) -> int:
        return hash(self._identity())

    def __str__(self) -> str:
        if not self._text:
            self._text = self._render()
        return self._text

    def _render(self) -> str:
        userinfo = ""
        if self._user is not None:
            userinfo = f"{self._user}@" if self._password is None else f"{self._user}:{self._password}@"
        text = f"{self._scheme}:{userinfo}{self.host_port}{self._params}"
        separator = "?"
        for name, value in self._headers:
            text += f"{separator}{_NOT_HNV.sub(_escape_match, name)}={_NOT_HNV.sub(_escape_match, value)}"
            separator = "&"
        return text

    def __repr__(self) -> str:
        return f"<SipUri {self}>"


# "A user, ttl, or method uri-parameter appearing in only one URI never matches"; so it is with maddr, and with
# transport, whose default a URI without it leaves open (§19.1.4).
_NEVER_IGNORED: Final = ("transport", "user", "ttl", "method", "maddr")


def _same_params(mine: Params, theirs: Params) -> bool:
    for name in mine:
        if name in theirs:
            if _normal(mine.raw(name) or "").lower() != _normal(theirs.raw(name) or "").lower():
                return False
        elif name in _NEVER_IGNORED:
            return False
    return all(name in mine or name not in _NEVER_IGNORED for name in theirs)


def _header_key(headers: UriHeaders) -> list[tuple[str, str]]:
    return sorted([(name.lower(), value.lower()) for name, value in headers])


class TelUri:
    """A `tel:` URI, or the telephone-subscriber in a SIP URI (RFC 3966); immutable.

    `number` is as written, with its visual separators; `params` hold phone-context, ext, isub and others.  Two are
    equal by RFC 3966 §4: separators and case do not count, and all parameters do.

    `str()` gives back the text that was parsed.  Of any other local number without phone-context it raises
    LocalProtocolError: nobody could tell where that is valid (§5.1.5).
    """

    __slots__ = ("_number", "_params", "_text")

    def __init__(self, number: str, params: Params = NO_URI_PARAMS) -> None:
        if _TELEPHONE_SUBSCRIBER.fullmatch(number) is None or ";" in number:
            raise LocalProtocolError(f"not a telephone number: {excerpt(number)}")
        self._number = number
        self._params = params if isinstance(params, UriParams) else UriParams(params.items())
        self._text = ""

    @property
    def scheme(self) -> str:
        """Always "tel"."""
        return "tel"

    @property
    def number(self) -> str:
        """The number as written."""
        return self._number

    @property
    def params(self) -> Params:
        """Its parameters."""
        return self._params

    @property
    def digits(self) -> str:
        """The number without visual separators; a global one begins with "+"."""
        return self._number.translate(_SEPARATORS)

    @property
    def is_global(self) -> bool:
        """Whether this is a global (E.164) number."""
        return self._number.startswith("+")

    @property
    def phone_context(self) -> str | None:
        """Where a local number is valid: a domain name or the leading digits of a global number (§5.1.5)."""
        return self._params.get("phone-context") or None

    @property
    def subscriber(self) -> str:
        """The telephone-subscriber: number and parameters."""
        return f"{self._number}{self._params}"

    def to_sip(self, host: str) -> SipUri:
        """The SIP URI by which this number is reached at *host* (RFC 3261 §19.1.6): separators go, case is lowered."""
        uri = SipUri("sip", self.digits.lower(), None, host, None, UriParams({"user": "phone"}))
        # what is escaped in a telephone-subscriber stays so; what a user part may not hold is escaped (§19.1.2)
        uri._user = f"{uri._user}{_NOT_USER_OR_ESCAPE.sub(_escape_match, str(self._params).lower())}"
        return uri

    def canonical(self) -> str:
        """The index under which this number is looked up: no separators, lower case, parameters in order of name."""
        params = "".join([f";{name}={value}" if value else f";{name}" for name, value in sorted(self._key().items())])
        return f"tel:{self.digits.lower()}{params}"

    def _key(self) -> dict[str, str]:
        key: dict[str, str] = {}
        for name in self._params:
            value = _normal(self._params.raw(name) or "").lower()
            if name == "ext" or (name == "phone-context" and value.startswith("+")):
                value = value.translate(_SEPARATORS)
            key[name] = value
        return key

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TelUri):
            return NotImplemented
        return self.digits.lower() == other.digits.lower() and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self.digits.lower())

    def __str__(self) -> str:
        if not self._text:
            if not self.is_global and self.phone_context is None:
                raise LocalProtocolError(f"no phone-context for {excerpt(self._number)} (RFC 3966 §5.1.5)")
            self._text = f"tel:{self.subscriber}"
        return self._text

    def __repr__(self) -> str:
        return f"<TelUri tel:{self.subscriber}>"


class OpaqueUri:
    """A URI of any other scheme: kept as text; immutable.  Two are equal if scheme and rest are the same text."""

    __slots__ = ("_rest", "_scheme", "_text")

    def __init__(self, scheme: str, rest: str) -> None:
        text = f"{scheme}:{rest}"
        if _ABSOLUTE_URI.fullmatch(text) is None:
            raise LocalProtocolError(f"not a URI: {excerpt(text)}")
        self._scheme = scheme.lower()
        self._rest = rest
        self._text = text

    @property
    def scheme(self) -> str:
        """The scheme in lower case."""
        return self._scheme

    @property
    def rest(self) -> str:
        """What follows the colon."""
        return self._rest

    def canonical(self) -> str:
        """The index under which this URI is looked up."""
        return f"{self._scheme}:{self._rest}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OpaqueUri):
            return NotImplemented
        return self._scheme == other._scheme and _normal(self._rest) == _normal(other._rest)

    def __hash__(self) -> int:
        return hash((self._scheme, _normal(self._rest)))

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"<OpaqueUri {self._text}>"


Uri = SipUri | TelUri | OpaqueUri


def parse_uri(text: str) -> Uri:
    """Parse a URI.  ParseError if it is malformed; an unknown scheme is no error here (a request owes 416 for it)."""
    match = _SIP_URI.fullmatch(text)
    if match is not None:
        return _sip_uri(text, match)
    scheme = text[:5].lower()
    if scheme.startswith(("sip:", "sips:")):
        raise ParseError(f"malformed SIP URI (RFC 3261 §19.1.1): {excerpt(text)}")
    if scheme.startswith("tel:"):
        uri = parse_telephone_subscriber(text[4:])
        uri._text = text
        return uri
    match = _ABSOLUTE_URI.fullmatch(text)
    if match is None or ("%" in text and _BAD_ESCAPE.search(text)):
        raise ParseError(f"not a URI: {excerpt(text)}")
    return OpaqueUri(match[1], match[2])


def _sip_uri(text: str, match: re.Match[str]) -> SipUri:
    scheme, user, password, host, port, params, headers = match.groups()
    if "%" in text and _BAD_ESCAPE.search(text) is not None:
        raise ParseError(f"a %-escape without two hexadecimal digits: {excerpt(text)}")
    if not is_host(host) and not is_ipv6_reference(host):
        raise ParseError(f"not a host: {excerpt(host)}")
    return SipUri(
        scheme if scheme == "sip" else scheme.lower(),
        user,
        password,
        host if host[0] != "[" else host[1:-1],
        None if port is None else parse_port(port),
        _uri_params(params) if params else NO_URI_PARAMS,
        () if headers is None else _uri_headers(headers),
        text,
    )


def parse_port(text: str) -> int:
    """A port from 1*DIGIT; ParseError outside 1 to 65535."""
    if len(text) > 5:
        text = text.lstrip("0")
    if len(text) < 6 and text.isdigit() and text.isascii():
        port = int(text)
        if 0 < port < 65536:
            return port
    raise ParseError(f"not a port: {excerpt(text)}")


def _uri_params(text: str) -> UriParams:
    params = UriParams()
    values = params._values
    for item in text[1:].split(";"):
        name, _, value = item.partition("=")
        if name not in values and name.islower() and "%" not in name:
            values[name] = value
        elif "%" in name:
            key = unescape(name).lower()
            if key in values:
                raise ParseError(f"URI parameter repeated: {excerpt(name)}")
            values[key] = value
            if params._names is None:
                params._names = {}
            params._names[key] = name
        else:
            params._add_raw(name, value)
    return params


def _uri_headers(text: str) -> UriHeaders:
    headers: list[tuple[str, str]] = []
    for item in text[1:].split("&"):
        name, _, value = item.partition("=")
        headers.append((unescape(name), unescape(value)))
    return tuple(headers)


def parse_telephone_subscriber(text: str) -> TelUri:
    """Parse a telephone-subscriber (RFC 3966 §3): a tel URI without its scheme, or the user part of a SIP URI.

    A local number must have a phone-context (§5.1.5), but is taken without one: phones write `tel:911`, and SIP URIs
    with `user=phone` mostly leave it to the host.
    """
    match = _TELEPHONE_SUBSCRIBER.fullmatch(text)
    if match is None or ("%" in text and _BAD_ESCAPE.search(text)):
        raise ParseError(f"not a telephone number (RFC 3966 §3): {excerpt(text)}")
    return TelUri(match[1], _uri_params(match[2]) if match[2] else NO_URI_PARAMS)
