"""Header fields made of tokens: methods, option tags, Call-ID, privacy, and `token *(SEMI generic-param)`."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ..errors import ParseError
from ..grammar import NO_PARAMS, Params, excerpt, is_token, parse_params

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
        return f"{self.value}{self.params}"


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
    value, semicolon, rest = text.partition(";")
    value = value.strip(" \t")
    if not is_token(value):
        raise ParseError(f"not a token: {excerpt(value)}")
    if not semicolon:
        return value, NO_PARAMS
    return value, parse_params(";" + rest)


class Privacy(NamedTuple):
    """What a user asks to be kept private (RFC 3323 §4.2), in lower case: "id", "user", "header", "none", ..."""

    values: tuple[str, ...]

    def __str__(self) -> str:
        return ";".join(self.values)


def parse_privacy(text: str) -> Privacy:
    """Parse `priv-value *(";" priv-value)`; commas are taken too, because peers write them."""
    values = [value.strip(" \t").lower() for value in text.replace(",", ";").split(";")]
    for value in values:
        if not is_token(value):
            raise ParseError(f"malformed Privacy: {excerpt(text)}")
    return Privacy(tuple(values))
