"""Sequence numbers: CSeq (RFC 3261 §20.16), RSeq and RAck (RFC 3262 §7)."""

from __future__ import annotations

from typing import Final, NamedTuple

from ..errors import ParseError
from ..grammar import excerpt, is_token, parse_digits

MAX_SEQUENCE: Final = 2**32 - 1
"""The largest number that a CSeq or RSeq may carry; one that is generated stays below 2**31 (§8.1.1.5)."""


class CSeq(NamedTuple):
    """The order of requests within a dialog, and the method, which is compared with regard to case."""

    number: int
    method: str

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


class RAck(NamedTuple):
    """The provisional response that a PRACK acknowledges: its RSeq and CSeq (RFC 3262 §7.2)."""

    rseq: int
    cseq: int
    method: str

    def __str__(self) -> str:
        return f"{self.rseq} {self.cseq} {self.method}"


def parse_cseq(text: str) -> CSeq:
    """Parse `1*DIGIT LWS Method`; ParseError above 2**32 - 1 (RFC 4475 §3.1.2.4)."""
    number, _, method = text.partition(" ")
    if len(number) < 10 and number.isascii() and number.isdigit() and method.isascii() and method.isalpha():
        return CSeq(int(number), method)
    parts = _words(text)
    if len(parts) != 2 or not is_token(parts[1]):
        raise ParseError(f"malformed CSeq: {excerpt(text)}")
    return CSeq(parse_digits(parts[0], MAX_SEQUENCE), parts[1])


def _words(text: str) -> list[str]:
    return [word for word in text.replace("\t", " ").split(" ") if word]


def parse_rseq(text: str) -> int:
    """Parse the response-num of RSeq: 1 to 2**32 - 1."""
    number = parse_digits(text, MAX_SEQUENCE)
    if number == 0:
        raise ParseError("RSeq 0 is no sequence number (RFC 3262 §3)")
    return number


def parse_rack(text: str) -> RAck:
    """Parse `response-num LWS CSeq-num LWS Method`."""
    parts = _words(text)
    if len(parts) != 3 or not is_token(parts[2]):
        raise ParseError(f"malformed RAck: {excerpt(text)}")
    return RAck(parse_rseq(parts[0]), parse_digits(parts[1], MAX_SEQUENCE), parts[2])
