"""Which header fields are known, how each is spelled, and how its values are parsed."""

from __future__ import annotations

from collections.abc import Callable
from sys import intern
from typing import Any, Final, Generic, TypeVar

from ..errors import LocalProtocolError, ParseError
from ..grammar import excerpt, is_token, split_commas

T = TypeVar("T")


class HeaderField(Generic[T]):
    """A kind of header field: its names, and the type of its values.

    `parse` takes one value (for a list header: one item), unfolded, and raises ParseError when it is malformed.
    `multiple` says that a line may hold several values, separated by commas, and that there may be several lines.
    `repeatable` says that there may be several lines: it is true of every `multiple` field, and of those whose values
    have commas of their own, so that each needs a line (RFC 3261 §7.3.1: WWW-Authenticate, Authorization,
    Proxy-Authenticate and Proxy-Authorization).
    """

    __slots__ = ("compact", "key", "multiple", "name", "parse", "repeatable")

    def __init__(
        self, name: str, parse: Callable[[str], T], *, compact: str | None, multiple: bool, repeatable: bool
    ) -> None:
        self.name = name
        """As it is written in the RFC: "Refer-To"."""
        self.key = intern(name.lower())
        """In lower case: "refer-to"."""
        self.compact = compact
        """The compact form, one lower-case letter, or None."""
        self.parse: Callable[[str], T] = parse
        self.multiple = multiple
        self.repeatable = repeatable

    def parse_all(self, text: str) -> list[T]:
        """The values that one unfolded line holds: several for a list, none for a blank list."""
        if not self.multiple:
            return [self.parse(text)]
        parse = self.parse
        return [parse(item) for item in split_commas(text)]

    def __repr__(self) -> str:
        return f"<HeaderField {self.name}>"


FIELDS: Final[dict[str, HeaderField[Any]]] = {}
"""Every registered field by its key."""

_KEYS: Final[dict[str, str]] = {}
"""The usual spellings of every registered name, compact forms among them, to its key."""


def parse_text(text: str) -> str:
    """The value of a field that has no structure of its own: the text, trimmed."""
    return text.strip(" \t")


class Conversion(Generic[T]):
    """A type as a parse function: what it refuses by ValueError is a malformed value."""

    __slots__ = ("_type",)

    def __init__(self, type_: Callable[[str], T]) -> None:
        self._type: Callable[[str], T] = type_

    def __call__(self, text: str) -> T:
        """Convert *text*, trimmed."""
        try:
            return self._type(text.strip(" \t"))
        except ValueError as error:
            raise ParseError(f"malformed value: {excerpt(text)}") from error


def register(
    name: str,
    parse: Callable[[str], T] = parse_text,  # type: ignore[assignment]  # T is str when no parse is given
    *,
    compact: str | None = None,
    multiple: bool = False,
    repeatable: bool = False,
) -> HeaderField[T]:
    """Make the header field *name* known, so that messages give its values typed: `TEAM = register("X-Team", int)`.

    See `HeaderField` for the arguments.  *parse* is a function that raises ParseError for a malformed value, or a type
    such as int, whose ValueError is taken for one.  LocalProtocolError when the name is no token, the compact form no
    letter, or one of them is taken.
    """
    if not is_token(name):
        raise LocalProtocolError(f"not a header field name: {excerpt(name)}")
    if compact is not None and (len(compact) != 1 or not compact.isalpha() or not compact.isascii()):
        raise LocalProtocolError(f"not a compact form: {excerpt(compact)}")
    field = HeaderField(
        name,
        Conversion(parse) if isinstance(parse, type) else parse,
        compact=None if compact is None else compact.lower(),
        multiple=multiple,
        repeatable=multiple or repeatable,
    )
    spellings = [field.key, name, name.upper(), name.title()]
    if field.compact is not None:
        spellings += [field.compact, field.compact.upper()]
    for spelling in spellings:
        if spelling in _KEYS:
            raise LocalProtocolError(f"header field {_KEYS[spelling]} is registered already")
    FIELDS[field.key] = field
    for spelling in spellings:
        _KEYS[spelling] = field.key
    return field


def canonical_key(name: str) -> str:
    """The key of a header field name in any case or compact form; for an unknown field, its name in lower case."""
    key = _KEYS.get(name)
    if key is not None:
        return key
    name = name.lower()
    return _KEYS.get(name, name)
