"""Date and Retry-After (RFC 3261 §20.17, §20.33), Timestamp (§20.38)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ..errors import LocalProtocolError, ParseError
from ..grammar import NO_PARAMS, Params, excerpt, parse_params
from .numbers import parse_seconds

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LENGTHS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

# rfc1123-date  =  wkday "," SP date1 SP time SP "GMT"
# date1         =  2DIGIT SP month SP 4DIGIT
_RFC1123: Final = re.compile(
    r"[ \t]*+([A-Z][a-z]{2}),[ \t]++([0-9]{2})[ \t]++([A-Z][a-z]{2})[ \t]++([0-9]{4})[ \t]++"
    r"([0-9]{2}):([0-9]{2}):([0-9]{2})[ \t]++GMT[ \t]*+"
)
# Timestamp  =  1*(DIGIT) [ "." *(DIGIT) ] [ LWS delay ]
# delay      =  *(DIGIT) [ "." *(DIGIT) ]
_TIMESTAMP: Final = re.compile(r"([0-9]++(?:\.[0-9]*+)?)(?:[ \t]++([0-9]*+(?:\.[0-9]*+)?))?")
# comment = LPAREN *(ctext / quoted-pair / comment) RPAREN; here the inside of one
_COMMENT: Final = re.compile(r"(?:[^\\\x00-\x08\x0a-\x1f\x7f]++|\\[\x00-\x09\x0b\x0c\x0e-\x7f])*+")
_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)
_MUST_BE_QUOTED: Final = re.compile(r"[\\()\x00-\x08\x0b-\x1f\x7f]")


class Date(NamedTuple):
    """A point in time, in seconds since 1970-01-01 00:00 UTC; rendered as `Sat, 13 Nov 2010 23:29:00 GMT`."""

    timestamp: int

    def __str__(self) -> str:
        days, seconds = divmod(self.timestamp, 86400)
        year, month, day = _civil(days)
        if not 0 <= year <= 9999:
            raise LocalProtocolError(f"a Date has a year of four digits: {self.timestamp}")
        hours, seconds = divmod(seconds, 3600)
        minutes, seconds = divmod(seconds, 60)
        weekday = _DAYS[(days + 3) % 7]  # 1970-01-01 was a Thursday
        return f"{weekday}, {day:02} {_MONTHS[month - 1]} {year:04} {hours:02}:{minutes:02}:{seconds:02} GMT"


class RetryAfter(NamedTuple):
    """How many seconds to wait, why (the comment, "" for none), and parameters."""

    seconds: int
    comment: str = ""
    params: Params = NO_PARAMS

    @property
    def duration(self) -> int | None:
        """How many seconds the called party will be reachable from then on; None when not said or malformed."""
        value = self.params.get("duration")
        try:
            return None if value is None else parse_seconds(value)
        except ParseError:
            return None

    def __str__(self) -> str:
        if "\r" in self.comment or "\n" in self.comment:
            raise LocalProtocolError("a comment cannot hold CR or LF (RFC 3261 §25.1)")
        comment = _MUST_BE_QUOTED.sub(r"\\\g<0>", self.comment)
        return f"{self.seconds} ({comment}){self.params}" if comment else f"{self.seconds}{self.params}"


class Timestamp(NamedTuple):
    """When the client sent the request, and how long the server waited before it answered, in seconds, as written."""

    value: str
    delay: str = ""

    def __str__(self) -> str:
        return f"{self.value} {self.delay}" if self.delay else self.value


def _days(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 in the Gregorian calendar; years begin with March, so that the leap day is the last."""
    year -= month < 3
    era, of_era = divmod(year, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def _civil(days: int) -> tuple[int, int, int]:
    """The inverse of `_days`."""
    era, of_era = divmod(days + 719468, 146097)
    years = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * years + years // 4 - years // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return era * 400 + years + (month < 3), month, of_year - (153 * shifted + 2) // 5 + 1


def _length(year: int, month: int) -> int:
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 29 if leap else _LENGTHS[month - 1]


def parse_date(text: str) -> Date:
    """Parse an rfc1123-date, which is always in GMT.

    ParseError for any other form (§20.17) and for a day that does not exist; whether the day of the week is right is
    not looked at.  A leap second counts as the first of the next minute.
    """
    match = _RFC1123.fullmatch(text)
    if match is None:
        raise ParseError(f"not a date: {excerpt(text)}")
    weekday, date, name, year_text, hours, minutes, seconds = match.groups()
    if weekday not in _DAYS or name not in _MONTHS:
        raise ParseError(f"not a date: {excerpt(text)}")
    year, month, day = int(year_text), _MONTHS.index(name) + 1, int(date)
    hour, minute, second = int(hours), int(minutes), int(seconds)
    if not 0 < day <= _length(year, month) or hour > 23 or minute > 59 or second > 60:
        raise ParseError(f"not a date: {excerpt(text)}")
    return Date(_days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second)


def parse_retry_after(text: str) -> RetryAfter:
    """Parse `delta-seconds [ comment ] *( SEMI retry-param )`; comments may be nested."""
    text = text.strip(" \t")
    end = 0
    while end < len(text) and text[end] not in " \t(;":
        end += 1
    seconds = parse_seconds(text[:end])
    rest = text[end:].lstrip(" \t")
    comment = ""
    if rest.startswith("("):
        end = _end_of_comment(rest)
        if _COMMENT.fullmatch(rest, 1, end - 1) is None:
            raise ParseError(f"a control character in a comment: {excerpt(text)}")
        comment = _QUOTED_PAIR.sub(r"\1", rest[1 : end - 1])
        rest = rest[end:].lstrip(" \t")
    if rest and rest[0] != ";":
        raise ParseError(f"malformed Retry-After: {excerpt(text)}")
    return RetryAfter(seconds, comment, parse_params(rest))


def _end_of_comment(text: str) -> int:
    """The index after the comment at the head of *text*."""
    depth = position = 0
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 1
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if not depth:
                return position + 1
        position += 1
    raise ParseError(f"a comment that does not end: {excerpt(text)}")


def parse_timestamp(text: str) -> Timestamp:
    """Parse a Timestamp."""
    match = _TIMESTAMP.fullmatch(text.strip(" \t"))
    if match is None:
        raise ParseError(f"not a Timestamp: {excerpt(text)}")
    return Timestamp(match[1], match[2] or "")
