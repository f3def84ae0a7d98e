"""The header of a message: its lines as they came, and their values on demand (RFC 3261 §7.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

from .errors import LocalProtocolError, ParseError
from .grammar import excerpt, is_token, split_commas, unfold
from .headers import FIELDS, HeaderField, canonical_key

T = TypeVar("T")
HeaderName = str | HeaderField[Any]
HeaderItems = Iterable[tuple[HeaderName, object]]

# What no line may hold outside a quoted-pair: all control characters but HTAB.
CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
NOT_CONTROL: Final = bytes(octet for octet in range(256) if octet == 9 or (octet > 31 and octet != 127))
LINE_END: Final = re.compile(r"\r\n(?![ \t])")

# Header fields whose list may be empty (§25.1; RFC 4412 §3.2, RFC 5009 §8, RFC 6086 §4.1, RFC 7315 §5.1).
_MAY_BE_EMPTY: Final = frozenset(
    (
        "accept",
        "accept-encoding",
        "accept-language",
        "accept-resource-priority",
        "allow",
        "p-associated-uri",
        "p-early-media",
        "recv-info",
        "supported",
    )
)


def _spellings() -> dict[str, str]:
    """The canonical key of every usual way to write the name of a header field that is known."""
    keys: dict[str, str] = {}
    for field in list(FIELDS.values()):
        for name in (field.name, field.key, field.name.upper(), field.name.title()):
            keys[name] = field.key
        if field.compact is not None:
            keys[field.compact.lower()] = keys[field.compact.upper()] = field.key
    return keys


KEYS: Final[dict[str, str]] = _spellings()


class Headers:
    """The header fields of a message, in the order of their lines.

    A name is given in any case, in its compact form, or as a `HeaderField`.  Typed values are parsed on first use and
    remembered until their header field is written; a malformed one raises ParseError at every access.
    """

    __slots__ = ("_all", "_changed", "_first", "_keys", "_length_changed", "_lines")

    def __init__(self, items: HeaderItems = ()) -> None:
        self._lines: list[str] = []
        """Each header field as written, without its line end, continuation lines included."""
        self._keys: list[str] = []
        """The canonical key of each of them."""
        self._first: dict[str, Any] | None = None
        self._all: dict[str, tuple[Any, ...]] | None = None
        self._changed = False
        """Whether the lines differ from the bytes that they were read from."""
        self._length_changed = False
        if items:
            for name, value in items:
                self.add(name, value)

    # Reading

    def get(self, name: HeaderName) -> str | None:
        """The value of the first line of header field *name*, unfolded and trimmed; None if there is none."""
        key = _key(name)
        if key not in self._keys:
            return None
        return line_value(self._lines[self._keys.index(key)])

    def get_all(self, name: HeaderName) -> list[str]:
        """The value of every line of header field *name*, unfolded and trimmed; comma lists are not split."""
        key = _key(name)
        if key not in self._keys:
            return []
        lines = self._lines
        return [line_value(lines[index]) for index, other in enumerate(self._keys) if other == key]

    def one(self, field: HeaderField[T]) -> T | None:
        """The first typed value of *field*; None if there is none.

        ParseError if it is malformed, or if the header field is repeated and must not be (§7.3.1).
        """
        key = field.key
        cache = self._first
        if cache is None:
            cache = self._first = {}
        elif key in cache:
            cached: T = cache[key]
            return cached
        keys = self._keys
        if key not in keys:
            return None
        text = self._lines[keys.index(key)].partition(":")[2]
        text = unfold(text) if "\n" in text else text.strip(" \t")
        if field.multiple:
            if "," in text:
                text = split_commas(text)[0]
            elif not text and key in _MAY_BE_EMPTY:
                values = self.all(field)
                return values[0] if values else None
        elif not field.repeatable and keys.count(key) > 1:
            raise ParseError(f"{field.name} is repeated")
        value = cache[key] = field.parse(text)
        return value

    def all(self, field: HeaderField[T]) -> tuple[T, ...]:
        """The typed values of all lines of *field*, comma lists split; ParseError if any of them is malformed."""
        key = field.key
        if self._all is not None:
            cached: tuple[T, ...] | None = self._all.get(key)
            if cached is not None:
                return cached
        if key not in self._keys:
            return ()
        values: list[T] = []
        for text in self.get_all(key):
            if field.multiple and "," in text:
                values += [field.parse(item) for item in split_commas(text)]
            elif text or key not in _MAY_BE_EMPTY:
                values.append(field.parse(text))
        if len(values) > 1 and not field.repeatable:
            raise ParseError(f"{field.name} is repeated")
        result = tuple(values)
        if self._all is None:
            self._all = {}
        self._all[key] = result
        return result

    def __contains__(self, name: object) -> bool:
        if isinstance(name, str):
            return canonical_key(name) in self._keys
        return isinstance(name, HeaderField) and name.key in self._keys

    def __len__(self) -> int:
        """How many header fields there are, counted in lines."""
        return len(self._lines)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """(name as written, value unfolded and trimmed) of each line."""
        return iter([(line.partition(":")[0].rstrip(" \t"), line_value(line)) for line in self._lines])

    def __repr__(self) -> str:
        return f"Headers({list(self)!r})"

    # Writing

    def set(self, name: HeaderName, value: object) -> None:
        """Make *value* the only one of header field *name*, in the place of the first line or else at the end.

        LocalProtocolError for what cannot stand in a header field; so a value can never smuggle in a line of its own.
        """
        key = _key(name)
        line = _render(name, str(value))
        if key in self._keys:
            index = self._keys.index(key)
            self._lines[index] = line
            if self._keys.count(key) > 1:
                self._delete(key, index + 1)
        else:
            self._lines.append(line)
            self._keys.append(key)
        self._touch(key)

    def add(self, name: HeaderName, value: object, first: bool = False) -> None:
        """Add a line at the end of the header or, if *first*, above those of the same name (else at the top).

        LocalProtocolError for what cannot stand in a header field.
        """
        key = _key(name)
        line = _render(name, str(value))
        if first:
            index = self._keys.index(key) if key in self._keys else 0
            self._lines.insert(index, line)
            self._keys.insert(index, key)
        else:
            self._lines.append(line)
            self._keys.append(key)
        self._touch(key)

    def remove(self, name: HeaderName) -> int:
        """Remove all lines of header field *name*; how many there were."""
        key = _key(name)
        count = self._keys.count(key)
        if count:
            self._delete(key, 0)
            self._touch(key)
        return count

    def pop_first(self, field: HeaderField[T]) -> T:
        """Remove the topmost value of *field* and return it; the others of its line stay.

        ParseError if it is malformed (it stays then) or if there is none.
        """
        value = self.one(field)
        if value is None:
            raise ParseError(f"no {field.name}")
        index = self._keys.index(field.key)
        rest = split_commas(line_value(self._lines[index]))[1:] if field.multiple else []
        if rest:
            self._lines[index] = _render(field, ", ".join(rest))
        else:
            del self._lines[index], self._keys[index]
        self._touch(field.key)
        return value

    def replace_first(self, field: HeaderField[T], value: T | str) -> None:
        """Render the topmost value of *field* anew; ParseError if there is none."""
        if field.key not in self._keys:
            raise ParseError(f"no {field.name}")
        index = self._keys.index(field.key)
        text = str(value)
        if field.multiple and "," in self._lines[index]:
            text = ", ".join([text, *split_commas(line_value(self._lines[index]))[1:]])
        self._lines[index] = _render(field, text)
        self._touch(field.key)

    def copy(self) -> Headers:
        """An independent copy; what was parsed already need not be parsed again."""
        copy = Headers()
        copy._lines = self._lines.copy()
        copy._keys = self._keys.copy()
        copy._first = None if self._first is None else self._first.copy()
        copy._all = None if self._all is None else self._all.copy()
        copy._changed = self._changed
        copy._length_changed = self._length_changed
        return copy

    def _append_plain(self, key: str, line: str) -> None:
        """Add a line that is sure to be well-formed, and of which no value was asked for yet."""
        self._keys.append(key)
        self._lines.append(line)
        self._changed = True

    def _delete(self, key: str, start: int) -> None:
        keys = self._keys
        for index in range(len(keys) - 1, start - 1, -1):
            if keys[index] == key:
                del keys[index], self._lines[index]

    def _touch(self, key: str) -> None:
        self._changed = True
        if self._first is not None:
            self._first.pop(key, None)
        if self._all is not None:
            self._all.pop(key, None)
        if key == "content-length":
            self._length_changed = True


def _key(name: HeaderName) -> str:
    return canonical_key(name) if isinstance(name, str) else name.key


def line_value(line: str) -> str:
    value = line.partition(":")[2]
    return unfold(value) if "\n" in value else value.strip(" \t")


def _render(name: HeaderName, value: str) -> str:
    if isinstance(name, str):
        if not is_token(name):
            raise LocalProtocolError(f"not a header field name: {excerpt(name)}")
    else:
        name = name.name
    line = f"{name}: {value}"
    if line.isprintable():
        return line
    if CONTROL.search(line) is not None and ("\r" in line or "\n" in line or not controls_are_quoted(line)):
        raise LocalProtocolError(f"{name} cannot hold control characters: {excerpt(value)}")
    return line


# Reading lines


def parse_headers(head: bytes) -> Headers:
    """Read header lines that stand alone: those of a body part (RFC 2046 §5.1), or of message/sipfrag (RFC 3420)."""
    lines = head.decode("utf-8", "surrogateescape").split("\r\n") if head else []
    if len(head.translate(None, NOT_CONTROL)) != 2 * max(len(lines) - 1, 0):
        check_controls("", lines)
    if lines and lines[0][:1] in (" ", "\t"):
        raise ParseError("a continuation of nothing (RFC 3261 §7.3.1)")
    headers = Headers()
    headers._lines = LINE_END.split("\r\n".join(lines)) if lines else []
    headers._keys = keys_of(headers._lines)
    return headers


def unusual_key(name: str, colon: str) -> str:
    """The key of a header field whose name is not written in a usual way."""
    if not colon:
        raise ParseError(f"a header line without a colon: {excerpt(name)} (RFC 3261 §7.3)")
    # HCOLON = *( SP / HTAB ) ":" SWS
    name = name.rstrip(" \t")
    if not is_token(name):
        raise ParseError(f"not a header field name: {excerpt(name)} (RFC 3261 §7.3)")
    return canonical_key(name)


def join_folded(lines: list[str]) -> list[str]:
    """Join continuation lines to the line that they continue (§7.3.1)."""
    if lines[0][:1] in (" ", "\t"):
        raise ParseError("the start-line cannot be folded (RFC 3261 §7.3.1)")
    return LINE_END.split("\r\n".join(lines))


def keys_of(lines: list[str]) -> list[str]:
    keys = []
    for line in lines:
        name, colon, _ = line.partition(":")
        key = KEYS.get(name)
        if key is None or not colon:
            key = unusual_key(name, colon)
        keys.append(key)
    return keys


def check_controls(start: str, lines: list[str]) -> None:
    if CONTROL.search(start) is not None:
        raise ParseError("a control character in the start-line")
    for line in lines:
        if "\r" in line or "\n" in line:
            raise ParseError("a bare CR or LF (RFC 3261 §7.3.1)")
    for line in LINE_END.split("\r\n".join(lines)):
        if not controls_are_quoted(line.replace("\r\n", "")):
            raise ParseError(f"a control character outside a quoted-pair: {excerpt(line)} (RFC 3261 §25.1)")


def controls_are_quoted(line: str) -> bool:
    """Whether each control character of *line* is part of a quoted-pair, in a quoted-string or in a comment (§25.1)."""
    quoted = escaped = False
    depth = 0
    for character in line:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = quoted or depth > 0
        elif character == '"':
            if not depth:
                quoted = not quoted
        elif not quoted and character == "(":
            depth += 1
        elif not quoted and character == ")":
            depth = max(depth - 1, 0)
        elif (character < " " and character != "\t") or character == "\x7f":
            return False
    return True
