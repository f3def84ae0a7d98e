"""Header fields made of tokens: methods, option tags, Call-ID, privacy, and `token *(SEMI generic-param)`."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ..errors import LocalProtocolError, ParseError
from ..grammar import NO_PARAMS, Params, checked_token, excerpt, is_token, split_params

# word = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~" / "(" / ")" / "<" / ">" / ":" / "\" /
#           DQUOTE / "/" / "[" / "]" / "?" / "{" / "}" )
_WORD: Final = r"""[-A-Za-z0-9.!%*_+`'~()<>:\\"/\[\]?{}]++"""
# callid = word [ "@" word ]
CALL_ID: Final = rf"{_WORD}(?:@{_WORD})?"
_CALL_ID: Final = re.compile(CALL_ID)


class Parameterized(NamedTuple):
    """A token (in some fields "*", or a word) with parameters; the token is compared without regard to case."""

    value: str
    params: Params = NO_PARAMS

    def __str__(self) -> str:
        return f"{checked_token(self.value)}{self.params}"


def checked_call_id(text: str) -> str:
    """*text*, which is about to be rendered as a Call-ID; LocalProtocolError if it is none."""
    if _CALL_ID.fullmatch(text) is None:
        raise LocalProtocolError(f"not a Call-ID: {excerpt(text)}")
    return text


def parse_call_id(text: str) -> str:
    """Parse a Call-ID, which is compared with regard to case (RFC 3261 §20.8)."""
    text = text.strip(" \t")
    if _CALL_ID.fullmatch(text) is None:
        raise ParseError(f"not a Call-ID: {excerpt(text)}")
    return text


def parse_parameterized(text: str) -> Parameterized:
    """Parse `token *(SEMI generic-param)`."""
    value, params = split_value(text)
    return Parameterized(value, params)


def split_value(text: str) -> tuple[str, Params]:
    """The token at the head of *text*, and the parameters after it."""
    value, params = split_params(text)
    if not is_token(value):
        raise ParseError(f"not a token: {excerpt(value)}")
    return value, params


class ResourceValue(NamedTuple):
    """A namespace and a priority in it (RFC 4412 §3.1): "dsn" and "flash"; in lower case."""

    namespace: str
    priority: str

    def __str__(self) -> str:
        if "." in self.namespace or "." in self.priority:
            raise LocalProtocolError(f"not a resource value: {self!r}")
        return f"{checked_token(self.namespace)}.{checked_token(self.priority)}"


def parse_resource_value(text: str) -> ResourceValue:
    """Parse `namespace "." r-priority`, both tokens without a dot."""
    namespace, _, priority = text.strip(" \t").lower().partition(".")
    if not is_token(namespace) or not is_token(priority) or "." in priority:
        raise ParseError(f"not a resource value: {excerpt(text)}")
    return ResourceValue(namespace, priority)


class ReferSub(NamedTuple):
    """Whether a REFER is to create a subscription (RFC 4488 §4)."""

    value: bool
    params: Params = NO_PARAMS

    def __str__(self) -> str:
        return f"{'true' if self.value else 'false'}{self.params}"


def parse_refer_sub(text: str) -> ReferSub:
    """Parse `("true" / "false") *(SEMI exten)`."""
    value, params = split_value(text)
    if value.lower() not in ("true", "false"):
        raise ParseError(f"Refer-Sub is true or false: {excerpt(text)}")
    return ReferSub(value.lower() == "true", params)


class Privacy(NamedTuple):
    """What a user asks to be kept private (RFC 3323 §4.2), in lower case: "id", "user", "header", "none", ..."""

    values: tuple[str, ...]

    def __str__(self) -> str:
        return ";".join([checked_token(value) for value in self.values])


def parse_privacy(text: str) -> Privacy:
    """Parse `priv-value *(";" priv-value)`; commas are taken too, because peers write them."""
    values = [value.strip(" \t").lower() for value in text.replace(",", ";").split(";")]
    for value in values:
        if not is_token(value):
            raise ParseError(f"malformed Privacy: {excerpt(text)}")
    return Privacy(tuple(values))
