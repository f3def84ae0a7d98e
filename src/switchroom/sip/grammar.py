"""The basic rules of the grammar (RFC 3261 §25.1) and what is built of them everywhere: quoted strings and parameters.

Text is `str` decoded from UTF-8 with surrogateescape, so any bytes survive a round trip.  Every function here works in
time linear in its input: the regexes are possessive or free of overlapping alternatives.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from .errors import LocalProtocolError, ParseError

# token = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~")
TOKEN: Final = r"[-A-Za-z0-9.!%*_+`'~]++"
_TOKEN: Final = re.compile(TOKEN)

# quoted-string = SWS DQUOTE *(qdtext / quoted-pair) DQUOTE
# qdtext        = LWS / %x21 / %x23-5B / %x5D-7E / UTF8-NONASCII
# quoted-pair   = "\" (%x00-09 / %x0B-0C / %x0E-7F)
QUOTED_STRING: Final = r'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]++|\\[\x00-\x09\x0b\x0c\x0e-\x7f])*+"'
_QUOTED_STRING: Final = re.compile(QUOTED_STRING)
_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)

# generic-param = token [ EQUAL gen-value ]
# gen-value     = token / host / quoted-string
# An unquoted value may hold the characters of an IPv6 address too, in brackets or bare: via-received has none
# (RFC 3261 §25.1), and peers differ (RFC 5118 §4.5).
_VALUE: Final = r"[-A-Za-z0-9.!%*_+`'~\[\]:]++"
_BARE_VALUE: Final = re.compile(_VALUE)
PLAIN_PARAMS: Final = rf"(?:;{TOKEN}(?:={_VALUE})?)*+"
_PLAIN_PARAMS: Final = re.compile(PLAIN_PARAMS)
_PARAM: Final = re.compile(rf"[ \t]*+;[ \t]*+({TOKEN})[ \t]*+(?:=[ \t]*+({_VALUE}|{QUOTED_STRING})[ \t]*+)?")

# The items of a comma-separated list: commas within a quoted string or a <URI> do not separate.
_LIST_ITEM: Final = re.compile(rf'(?:[^",<]++|{QUOTED_STRING}|<[^<>"]*+>)*+')
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def excerpt(text: str) -> str:
    """*text* as it may stand in an error message: quoted, and not longer than a line."""
    return repr(text) if len(text) <= 60 else f"{text[:60]!r}..."


def is_token(text: str) -> bool:
    """Whether *text* is a `token` (RFC 3261 §25.1)."""
    return _TOKEN.fullmatch(text) is not None


def checked_token(text: str) -> str:
    """*text*, which is about to be rendered as a token; LocalProtocolError if it is none."""
    if _TOKEN.fullmatch(text) is None:
        raise LocalProtocolError(f"not a token: {excerpt(text)}")
    return text


def parse_token(text: str) -> str:
    """*text* without surrounding white space, which must be one token."""
    text = text.strip(" \t")
    if _TOKEN.fullmatch(text) is None:
        raise ParseError(f"not a token: {excerpt(text)}")
    return text


def parse_digits(text: str, maximum: int) -> int:
    """The number that 1*DIGIT stands for; ParseError if it is anything else or is above *maximum*."""
    text = text.strip(" \t")
    if not (text.isascii() and text.isdigit()):
        raise ParseError(f"not a number: {excerpt(text)}")
    if len(text) > 10:  # conversion of a long number costs more than linear time
        text = text.lstrip("0") or "0"
        if len(text) > 20:
            raise ParseError(f"number above {maximum}: {excerpt(text)}")
    number = int(text)
    if number > maximum:
        raise ParseError(f"number above {maximum}: {excerpt(text)}")
    return number


def has_control(text: str) -> bool:
    """Whether *text* holds a control character other than a tab: nothing that may be put into a header field."""
    return _CONTROL.search(text) is not None


def unfold(text: str) -> str:
    """*text* with each folding (CRLF and the white space around it) made one space, and trimmed.

    ParseError for a CR, LF or CRLF that folds nothing (RFC 3261 §7.3.1: a continuation starts with white space).
    """
    if "\n" not in text and "\r" not in text:
        return text.strip(" \t")
    first, *rest = text.split("\r\n")
    lines = [first.strip(" \t")]
    for line in rest:
        if not line.startswith((" ", "\t")):
            raise ParseError("a line break within a header field that is no folding")
        lines.append(line.strip(" \t"))
    unfolded = " ".join(lines).strip(" ")
    if "\n" in unfolded or "\r" in unfolded:
        raise ParseError("a bare CR or LF within a header field")
    return unfolded


def quote(text: str) -> str:
    """*text* as a quoted-string.

    Quotation marks, backslashes and control characters become quoted pairs.  LocalProtocolError for CR and LF, which
    no quoted-string can carry.
    """
    if "\r" in text or "\n" in text:
        raise LocalProtocolError("a quoted-string cannot hold CR or LF (RFC 3261 §25.1)")
    if '"' in text or "\\" in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    if has_control(text):
        text = _CONTROL.sub(lambda match: "\\" + match[0], text)
    return f'"{text}"'


def unquote(text: str) -> str:
    """What a quoted-string says; any other text is returned as it is."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    text = text[1:-1]
    return _QUOTED_PAIR.sub(r"\1", text) if "\\" in text else text


def parse_quoted_string(text: str) -> str:
    """The decoded content of *text*, which must be one quoted-string."""
    text = text.strip(" \t")
    if _QUOTED_STRING.fullmatch(text) is None:
        raise ParseError(f"not a quoted-string: {excerpt(text)}")
    return unquote(text)


def end_of_quoted_string(text: str, start: int) -> int:
    """The index after the quoted-string that begins at *start*."""
    match = _QUOTED_STRING.match(text, start)
    if match is None:
        raise ParseError(f"a quoted-string that does not end: {excerpt(text[start:])}")
    return match.end()


def split_commas(text: str) -> list[str]:
    """The items of a comma-separated list, trimmed; none for blank text (RFC 3261 §7.3.1).

    Commas in quoted strings and within <> do not separate.  An item between two commas may come out empty, which no
    parse function takes for a value.
    """
    if "," not in text:
        text = text.strip(" \t")
        return [text] if text else []
    if '"' not in text and "<" not in text:
        return [item.strip(" \t") for item in text.split(",")]
    items: list[str] = []
    start = 0
    while True:
        match = _LIST_ITEM.match(text, start)
        assert match is not None  # it matches the empty string
        end = match.end()
        items.append(text[start:end].strip(" \t"))
        if end == len(text):
            return items
        if text[end] != ",":
            raise ParseError(f"a quotation or <> that does not end: {excerpt(text[end:])}")
        start = end + 1


class Params:
    """Parameters of a header field value (`*(SEMI generic-param)`): an immutable ordered mapping.

    Names are looked up without regard to case and rendered as they were written.  Values are looked up decoded (without
    the quotation) and rendered as they were written; one given to the constructor or to `with_` is quoted if it must
    be.  A flag (`;lr`) has the value ""; None makes one too.

    Two are equal when they hold the same names and the same decoded values, in any order.
    """

    __slots__ = ("_names", "_values")

    def __init__(self, items: Mapping[str, str | None] | Iterable[tuple[str, str | None]] = ()) -> None:
        self._values: dict[str, str] = {}
        """Lower-case name to the value as written, "" for a flag."""
        self._names: dict[str, str] | None = None
        """Lower-case name to the name as written, where the two differ."""
        if items:
            pairs = items.items() if isinstance(items, Mapping) else items
            for name, value in pairs:
                if name.lower() in self._values:
                    raise LocalProtocolError(f"parameter given twice: {excerpt(name)}")
                self._put(name, value)

    def _put(self, name: str, value: str | None) -> None:
        if not is_token(name):
            raise LocalProtocolError(f"not a parameter name: {excerpt(name)}")
        key = name.lower()
        known = key in self._values  # and keeps its spelling
        self._values[key] = self._encode(value) if value else ""
        if key != name and not known:
            if self._names is None:
                self._names = {}
            self._names[key] = name

    def _add_raw(self, name: str, value: str) -> None:
        """Add what a parser found; it has checked the syntax of both."""
        key = name.lower()
        if key in self._values:
            raise ParseError(f"parameter repeated: {excerpt(name)}")
        self._values[key] = value
        if key != name:
            if self._names is None:
                self._names = {}
            self._names[key] = name

    def _encode(self, value: str) -> str:
        return value if _BARE_VALUE.fullmatch(value) else quote(value)

    def _decode(self, value: str) -> str:
        return unquote(value) if value[:1] == '"' else value

    def _empty(self) -> Params:
        return Params()

    def get(self, name: str, default: str | None = None) -> str | None:
        """The decoded value of parameter *name* ("" for a flag), or *default* if there is no such parameter."""
        value = self._values.get(name)
        if value is None:
            value = self._values.get(name.lower())
            if value is None:
                return default
        return self._decode(value)

    def has(self, key: str) -> bool:
        """Whether there is a parameter of this name, which is given in lower case; `in` takes any case."""
        return key in self._values

    def raw(self, name: str) -> str | None:
        """The value as written, with its quotation; "" for a flag, None if there is no such parameter."""
        return self._values.get(name.lower())

    def with_(self, name: str, value: str | None) -> Params:
        """A copy in which *name* has *value* (None: is a flag), in its old place or at the end."""
        copy = self._copy()
        copy._put(name, value)
        return copy

    def with_quoted(self, name: str, value: str) -> Params:
        """As `with_`, but the value stands in quotation marks even if it need not."""
        copy = self.with_(name, value)
        copy._values[name.lower()] = quote(value)
        return copy

    def without(self, name: str) -> Params:
        """A copy that has no parameter *name*."""
        key = name.lower()
        if key not in self._values:
            return self
        copy = self._copy()
        del copy._values[key]
        if copy._names is not None:
            copy._names.pop(key, None)
        return copy

    def _copy(self) -> Params:
        copy = self._empty()
        copy._values = dict(self._values)
        copy._names = None if self._names is None else dict(self._names)
        return copy

    def items(self) -> list[tuple[str, str]]:
        """(name as written, decoded value) in order; the value of a flag is ""."""
        return [(self._name(key), self._decode(value)) for key, value in self._values.items()]

    def _name(self, key: str) -> str:
        return key if self._names is None else self._names.get(key, key)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        """The lower-case names, in order."""
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def _decoded(self) -> dict[str, str]:
        return {key: self._decode(value) for key, value in self._values.items()}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Params):
            return NotImplemented
        return self._values == other._values or self._decoded() == other._decoded()

    def __hash__(self) -> int:
        return hash(frozenset(self._values))

    def __str__(self) -> str:
        """The parameters with a semicolon before each: "" or ";a;b=c"."""
        text = ""
        for key, value in self._values.items():
            name = key if self._names is None else self._names.get(key, key)
            text += f";{name}={value}" if value else f";{name}"
        return text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.items()!r})"


NO_PARAMS: Final = Params()


def parse_params(text: str) -> Params:
    """Parse `*(SEMI generic-param)`; the first semicolon may be missing.  ParseError for a repeated name (§7.3.1)."""
    if not text:
        return NO_PARAMS
    if _PLAIN_PARAMS.fullmatch(text) is not None:
        return split_plain_params(text)
    text = text.strip(" \t")
    if text and text[0] != ";":
        text = ";" + text
    params = Params()
    position = 0
    end = len(text)
    while position < end:
        match = _PARAM.match(text, position)
        if match is None:
            raise ParseError(f"malformed parameter: {excerpt(text[position:])}")
        params._add_raw(match[1], match[2] or "")
        position = match.end()
    return params


def split_params(text: str) -> tuple[str, Params]:
    """What stands before the first semicolon of *text*, trimmed, and the parameters from there on."""
    head, semicolon, rest = text.partition(";")
    return head.strip(" \t"), parse_params(";" + rest) if semicolon else NO_PARAMS


def split_plain_params(text: str) -> Params:
    """Parse parameters that a regex has found to match `PLAIN_PARAMS`: no white space, nothing quoted."""
    if not text:
        return NO_PARAMS
    params = Params()
    values = params._values
    for item in text[1:].split(";"):
        name, _, value = item.partition("=")
        if name in values or not name.islower():
            params._add_raw(name, value)
        else:
            values[name] = value
    return params
