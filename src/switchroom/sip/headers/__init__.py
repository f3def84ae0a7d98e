"""Header fields: what their values are, and which are known.

Values are immutable; `str()` of one is its canonical text.  `parse_...` functions take unfolded text and raise
ParseError.
"""

from __future__ import annotations

from typing import Final

from ..grammar import parse_token
from .address import STAR as STAR
from .address import Address as Address
from .address import parse_address as parse_address
from .address import parse_contact as parse_contact
from .address import parse_name_addr, parse_route
from .auth import AuthenticationInfo as AuthenticationInfo
from .auth import Challenge as Challenge
from .auth import Credentials as Credentials
from .auth import parse_authentication_info
from .auth import parse_challenge as parse_challenge
from .auth import parse_credentials as parse_credentials
from .media import Disposition as Disposition
from .media import MediaType as MediaType
from .media import parse_disposition
from .media import parse_media_type as parse_media_type
from .numbers import parse_content_length, parse_expires, parse_max_forwards, parse_seconds
from .registry import FIELDS as FIELDS
from .registry import HeaderField as HeaderField
from .registry import canonical_key as canonical_key
from .registry import parse_text
from .registry import register as register
from .sequence import CSeq as CSeq
from .sequence import RAck as RAck
from .sequence import parse_cseq as parse_cseq
from .sequence import parse_rack, parse_rseq
from .tokens import parse_call_id, parse_parameterized, parse_privacy
from .via import Via as Via
from .via import parse_via as parse_via

# RFC 3261
ACCEPT: Final = register("Accept", parse_media_type, multiple=True)
ACCEPT_ENCODING: Final = register("Accept-Encoding", parse_parameterized, multiple=True)
ACCEPT_LANGUAGE: Final = register("Accept-Language", parse_parameterized, multiple=True)
ALLOW: Final = register("Allow", parse_token, multiple=True)
AUTHENTICATION_INFO: Final = register("Authentication-Info", parse_authentication_info)
AUTHORIZATION: Final = register("Authorization", parse_credentials, multiple=True, comma=False)
CALL_ID: Final = register("Call-ID", parse_call_id, compact="i")
CONTACT: Final = register("Contact", parse_contact, compact="m", multiple=True)
CONTENT_DISPOSITION: Final = register("Content-Disposition", parse_disposition)
CONTENT_ENCODING: Final = register("Content-Encoding", parse_token, compact="e", multiple=True)
CONTENT_LANGUAGE: Final = register("Content-Language", parse_token, multiple=True)
CONTENT_LENGTH: Final = register("Content-Length", parse_content_length, compact="l")
CONTENT_TYPE: Final = register("Content-Type", parse_media_type, compact="c")
CSEQ: Final = register("CSeq", parse_cseq)
EXPIRES: Final = register("Expires", parse_expires)
FROM: Final = register("From", parse_address, compact="f")
IN_REPLY_TO: Final = register("In-Reply-To", parse_call_id, multiple=True)
MAX_FORWARDS: Final = register("Max-Forwards", parse_max_forwards)
MIN_EXPIRES: Final = register("Min-Expires", parse_seconds)
MIME_VERSION: Final = register("MIME-Version", parse_text)
ORGANIZATION: Final = register("Organization", parse_text)
PRIORITY: Final = register("Priority", parse_token)
PROXY_AUTHENTICATE: Final = register("Proxy-Authenticate", parse_challenge, multiple=True, comma=False)
PROXY_AUTHORIZATION: Final = register("Proxy-Authorization", parse_credentials, multiple=True, comma=False)
PROXY_REQUIRE: Final = register("Proxy-Require", parse_token, multiple=True)
RECORD_ROUTE: Final = register("Record-Route", parse_route, multiple=True)
REPLY_TO: Final = register("Reply-To", parse_address)
REQUIRE: Final = register("Require", parse_token, multiple=True)
ROUTE: Final = register("Route", parse_route, multiple=True)
SERVER: Final = register("Server", parse_text)
SUBJECT: Final = register("Subject", parse_text, compact="s")
SUPPORTED: Final = register("Supported", parse_token, compact="k", multiple=True)
TIMESTAMP: Final = register("Timestamp", parse_text)
TO: Final = register("To", parse_address, compact="t")
UNSUPPORTED: Final = register("Unsupported", parse_token, multiple=True)
USER_AGENT: Final = register("User-Agent", parse_text)
VIA: Final = register("Via", parse_via, compact="v", multiple=True)
WWW_AUTHENTICATE: Final = register("WWW-Authenticate", parse_challenge, multiple=True, comma=False)

# RFC 3262
RACK: Final = register("RAck", parse_rack)
RSEQ: Final = register("RSeq", parse_rseq)
