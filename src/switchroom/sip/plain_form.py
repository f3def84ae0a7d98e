"""The form in which nearly all messages have the header fields that every message must have (RFC 3261 §8.1.1).

That a line has this form is told by one regex, in a third of the time that its value takes.  So a message whose lines
all have it is known to be well-formed before any value exists, and most values are never asked for.  Every form here
is a part of what the parse function of its header field accepts, and no form decides that anything is malformed.
"""

from __future__ import annotations

import re
from typing import Final

from .grammar import TOKEN
from .header_lines import Headers
from .headers.address import DISPLAY_NAME, QUOTED_DISPLAY_NAME
from .headers.tokens import CALL_ID
from .host import is_host
from .uri import PLAIN_SIP_URI

_NAME: Final = r"[^:]*+:[ \t]*+"  # of a line whose key is known: its name, and no space at the end of its value
_URI: Final = re.compile(PLAIN_SIP_URI)
_ADDRESS: Final = re.compile(
    rf"{_NAME}(?:{QUOTED_DISPLAY_NAME} ?|{DISPLAY_NAME})<{PLAIN_SIP_URI}>(;[Tt][Aa][Gg]={TOKEN})?"
)
_CALL_ID: Final = re.compile(_NAME + CALL_ID)
_CSEQ: Final = re.compile(_NAME + r"[0-9]{1,9} ([A-Za-z]++)")
_MAX_FORWARDS: Final = re.compile(_NAME + r"[0-9]{1,9}")
_SINGLE: Final = ("from", "to", "call-id", "cseq", "max-forwards")


def is_plain_request(headers: Headers, method: str, uri: str) -> bool:
    """Whether Request-URI, From, To, Call-ID, CSeq (of this method) and Max-Forwards are sure to be well-formed."""
    match = _URI.fullmatch(uri)
    if match is None or not is_host(match[1]) or _method(headers) != method:
        return False
    keys = headers._keys
    return "max-forwards" not in keys or _MAX_FORWARDS.fullmatch(headers._lines[keys.index("max-forwards")]) is not None


def is_plain_response(headers: Headers) -> bool:
    """Whether From, To, Call-ID and CSeq are sure to be well-formed."""
    return _method(headers) is not None


def is_plain_without_tag(line: str) -> bool:
    """Whether a From or To line is sure to be well-formed, and to have no tag."""
    match = _ADDRESS.fullmatch(line)
    return match is not None and match[2] is None and is_host(match[1])


def _method(headers: Headers) -> str | None:
    """The method of CSeq if that, From, To and Call-ID are plain, and none of them nor Max-Forwards is repeated."""
    keys, lines = headers._keys, headers._lines
    if len(set(keys)) != len(keys):
        for key in _SINGLE:
            if keys.count(key) > 1:
                return None
    try:
        sender = _ADDRESS.fullmatch(lines[keys.index("from")])
        recipient = _ADDRESS.fullmatch(lines[keys.index("to")])
        call_id = _CALL_ID.fullmatch(lines[keys.index("call-id")])
        cseq = _CSEQ.fullmatch(lines[keys.index("cseq")])
    except ValueError:  # one of them is missing
        return None
    if sender is None or recipient is None or call_id is None or cseq is None:
        return None
    return cseq[1] if is_host(sender[1]) and is_host(recipient[1]) else None
