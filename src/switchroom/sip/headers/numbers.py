"""Header fields that are one number (RFC 3261 §20.14, §20.19, §20.22, §20.23; RFC 5393, RFC 5626)."""

from __future__ import annotations

from typing import Final

from ..errors import ParseError
from ..grammar import parse_digits

MAX_SECONDS: Final = 2**32 - 1
"""The largest delta-seconds (RFC 3261 §20.19)."""
DEFAULT_EXPIRES: Final = 3600
"""What a malformed expiry counts as, in seconds (RFC 3261 §10.2.1.1, §20.10)."""


def parse_seconds(text: str) -> int:
    """Parse delta-seconds, 0 to 2**32 - 1; ParseError for anything else."""
    return parse_digits(text, MAX_SECONDS)


def parse_expires(text: str) -> int:
    """The seconds of an Expires field or `expires` parameter: what is malformed or too large counts as 3600.

    "Malformed values SHOULD be treated as equivalent to 3600" (RFC 3261 §20.10), and RFC 4475 §3.1.2.4 has an
    overlarge value treated so too.  Never raises.
    """
    try:
        return parse_digits(text, MAX_SECONDS)
    except ParseError:
        return DEFAULT_EXPIRES


def parse_content_length(text: str) -> int:
    """Parse the octets of a body, 0 to 2**32 - 1; ParseError for a sign or anything else (RFC 4475 §3.1.2.3)."""
    return parse_digits(text, MAX_SECONDS)


def parse_max_forwards(text: str) -> int:
    """Parse the hops left; ParseError above 2**32 - 1.

    What is above 255 is out of range, but does no harm (RFC 4475 §3.1.2.4).
    """
    return parse_digits(text, MAX_SECONDS)


def parse_max_breadth(text: str) -> int:
    """Parse how many branches a request may still fork into (RFC 5393 §5.3.2): 1*DIGIT, 0 to 2**32 - 1."""
    return parse_digits(text, MAX_SECONDS)
