"""Header fields: what their values are, and which are known.

Values are immutable; `str()` of one is its canonical text.  `parse_...` functions take unfolded text and raise
ParseError.
"""

from __future__ import annotations

from typing import Final

from ..grammar import parse_token
from .address import (
    STAR,
    Address,
    parse_address,
    parse_contact,
    parse_name_addr,
    parse_route,
)
from .auth import (
    AuthenticationInfo,
    Challenge,
    Credentials,
    parse_authentication_info,
    parse_challenge,
    parse_credentials,
)
from .dates import (
    Date,
    RetryAfter,
    Timestamp,
    parse_date,
    parse_retry_after,
    parse_timestamp,
)
from .information import (
    Information,
    parse_information,
    parse_loose_information,
)
from .media import (
    Disposition,
    MediaType,
    parse_disposition,
    parse_media_type,
)
from .numbers import (
    DEFAULT_EXPIRES,
    parse_content_length,
    parse_expires,
    parse_max_breadth,
    parse_max_forwards,
    parse_seconds,
)
from .reasons import (
    Reason,
    Warning,
    parse_reason,
    parse_warning,
)
from .references import (
    Join,
    Replaces,
    TargetDialog,
    parse_join,
    parse_replaces,
    parse_target_dialog,
)
from .registry import (
    FIELDS,
    HeaderField,
    canonical_key,
    parse_text,
    register,
)
from .sequence import (
    CSeq,
    RAck,
    parse_cseq,
    parse_rack,
    parse_rseq,
)
from .session import (
    NIL_SESSION_ID,
    MinSE,
    SessionExpires,
    SessionId,
    UserToUser,
    parse_min_se,
    parse_session_expires,
    parse_session_id,
    parse_user_to_user,
)
from .subscription import (
    Event,
    SubscriptionState,
    parse_event,
    parse_subscription_state,
)
from .tokens import (
    Parameterized,
    Privacy,
    ReferSub,
    ResourceValue,
    parse_call_id,
    parse_parameterized,
    parse_privacy,
    parse_refer_sub,
    parse_resource_value,
)
from .via import (
    Via,
    parse_via,
)

__all__ = [
    "ACCEPT",
    "ACCEPT_CONTACT",
    "ACCEPT_ENCODING",
    "ACCEPT_LANGUAGE",
    "ACCEPT_RESOURCE_PRIORITY",
    "ALERT_INFO",
    "ALLOW",
    "ALLOW_EVENTS",
    "ANSWER_MODE",
    "AUTHENTICATION_INFO",
    "AUTHORIZATION",
    "CALL_ID",
    "CALL_INFO",
    "CONTACT",
    "CONTENT_DISPOSITION",
    "CONTENT_ENCODING",
    "CONTENT_LANGUAGE",
    "CONTENT_LENGTH",
    "CONTENT_TYPE",
    "CSEQ",
    "DATE",
    "DEFAULT_EXPIRES",
    "DIVERSION",
    "ERROR_INFO",
    "EVENT",
    "EXPIRES",
    "FEATURE_CAPS",
    "FIELDS",
    "FLOW_TIMER",
    "FROM",
    "GEOLOCATION",
    "GEOLOCATION_ERROR",
    "GEOLOCATION_ROUTING",
    "HISTORY_INFO",
    "IDENTITY",
    "IDENTITY_INFO",
    "INFO_PACKAGE",
    "IN_REPLY_TO",
    "JOIN",
    "MAX_BREADTH",
    "MAX_FORWARDS",
    "MIME_VERSION",
    "MIN_EXPIRES",
    "MIN_SE",
    "NIL_SESSION_ID",
    "ORGANIZATION",
    "PATH",
    "PERMISSION_MISSING",
    "POLICY_CONTACT",
    "POLICY_ID",
    "PRIORITY",
    "PRIVACY",
    "PRIV_ANSWER_MODE",
    "PROXY_AUTHENTICATE",
    "PROXY_AUTHORIZATION",
    "PROXY_REQUIRE",
    "P_ACCESS_NETWORK_INFO",
    "P_ASSERTED_IDENTITY",
    "P_ASSOCIATED_URI",
    "P_CALLED_PARTY_ID",
    "P_CHARGING_FUNCTION_ADDRESSES",
    "P_CHARGING_VECTOR",
    "P_EARLY_MEDIA",
    "P_MEDIA_AUTHORIZATION",
    "P_PREFERRED_IDENTITY",
    "P_REFUSED_URI_LIST",
    "P_VISITED_NETWORK_ID",
    "RACK",
    "REASON",
    "RECORD_ROUTE",
    "RECV_INFO",
    "REFERRED_BY",
    "REFER_SUB",
    "REFER_TO",
    "REJECT_CONTACT",
    "REMOTE_PARTY_ID",
    "REPLACES",
    "REPLY_TO",
    "REQUEST_DISPOSITION",
    "REQUIRE",
    "RESOURCE_PRIORITY",
    "RETRY_AFTER",
    "ROUTE",
    "RSEQ",
    "SECURITY_CLIENT",
    "SECURITY_SERVER",
    "SECURITY_VERIFY",
    "SERVER",
    "SERVICE_ROUTE",
    "SESSION_EXPIRES",
    "SESSION_ID",
    "SIP_ETAG",
    "SIP_IF_MATCH",
    "STAR",
    "SUBJECT",
    "SUBSCRIPTION_STATE",
    "SUPPORTED",
    "SUPPRESS_IF_MATCH",
    "TARGET_DIALOG",
    "TIMESTAMP",
    "TO",
    "TRIGGER_CONSENT",
    "UNSUPPORTED",
    "USER_AGENT",
    "USER_TO_USER",
    "VIA",
    "WARNING",
    "WWW_AUTHENTICATE",
    "Address",
    "AuthenticationInfo",
    "CSeq",
    "Challenge",
    "Credentials",
    "Date",
    "Disposition",
    "Event",
    "HeaderField",
    "Information",
    "Join",
    "MediaType",
    "MinSE",
    "Parameterized",
    "Privacy",
    "RAck",
    "Reason",
    "ReferSub",
    "Replaces",
    "ResourceValue",
    "RetryAfter",
    "SessionExpires",
    "SessionId",
    "SubscriptionState",
    "TargetDialog",
    "Timestamp",
    "UserToUser",
    "Via",
    "Warning",
    "canonical_key",
    "parse_address",
    "parse_authentication_info",
    "parse_call_id",
    "parse_challenge",
    "parse_contact",
    "parse_content_length",
    "parse_credentials",
    "parse_cseq",
    "parse_date",
    "parse_disposition",
    "parse_event",
    "parse_expires",
    "parse_information",
    "parse_join",
    "parse_loose_information",
    "parse_max_breadth",
    "parse_max_forwards",
    "parse_media_type",
    "parse_min_se",
    "parse_name_addr",
    "parse_parameterized",
    "parse_privacy",
    "parse_rack",
    "parse_reason",
    "parse_refer_sub",
    "parse_replaces",
    "parse_resource_value",
    "parse_retry_after",
    "parse_route",
    "parse_rseq",
    "parse_seconds",
    "parse_session_expires",
    "parse_session_id",
    "parse_subscription_state",
    "parse_target_dialog",
    "parse_text",
    "parse_timestamp",
    "parse_user_to_user",
    "parse_via",
    "parse_warning",
    "register",
]

# RFC 3261
ACCEPT: Final = register("Accept", parse_media_type, multiple=True)
ACCEPT_ENCODING: Final = register("Accept-Encoding", parse_parameterized, multiple=True)
ACCEPT_LANGUAGE: Final = register("Accept-Language", parse_parameterized, multiple=True)
ALERT_INFO: Final = register("Alert-Info", parse_loose_information, multiple=True)
ALLOW: Final = register("Allow", parse_token, multiple=True)
AUTHENTICATION_INFO: Final = register("Authentication-Info", parse_authentication_info)
AUTHORIZATION: Final = register("Authorization", parse_credentials, repeatable=True)
CALL_ID: Final = register("Call-ID", parse_call_id, compact="i")
CALL_INFO: Final = register("Call-Info", parse_loose_information, multiple=True)
CONTACT: Final = register("Contact", parse_contact, compact="m", multiple=True)
CONTENT_DISPOSITION: Final = register("Content-Disposition", parse_disposition)
CONTENT_ENCODING: Final = register("Content-Encoding", parse_token, compact="e", multiple=True)
CONTENT_LANGUAGE: Final = register("Content-Language", parse_token, multiple=True)
CONTENT_LENGTH: Final = register("Content-Length", parse_content_length, compact="l")
CONTENT_TYPE: Final = register("Content-Type", parse_media_type, compact="c")
CSEQ: Final = register("CSeq", parse_cseq)
DATE: Final = register("Date", parse_date)
ERROR_INFO: Final = register("Error-Info", parse_information, multiple=True)
EXPIRES: Final = register("Expires", parse_expires)
FROM: Final = register("From", parse_address, compact="f")
IN_REPLY_TO: Final = register("In-Reply-To", parse_call_id, multiple=True)
MAX_FORWARDS: Final = register("Max-Forwards", parse_max_forwards)
MIN_EXPIRES: Final = register("Min-Expires", parse_seconds)
MIME_VERSION: Final = register("MIME-Version", parse_text)
ORGANIZATION: Final = register("Organization", parse_text)
PRIORITY: Final = register("Priority", parse_token)
PROXY_AUTHENTICATE: Final = register("Proxy-Authenticate", parse_challenge, repeatable=True)
PROXY_AUTHORIZATION: Final = register("Proxy-Authorization", parse_credentials, repeatable=True)
PROXY_REQUIRE: Final = register("Proxy-Require", parse_token, multiple=True)
RECORD_ROUTE: Final = register("Record-Route", parse_route, multiple=True)
REPLY_TO: Final = register("Reply-To", parse_address)
REQUIRE: Final = register("Require", parse_token, multiple=True)
RETRY_AFTER: Final = register("Retry-After", parse_retry_after)
ROUTE: Final = register("Route", parse_route, multiple=True)
SERVER: Final = register("Server", parse_text)
SUBJECT: Final = register("Subject", parse_text, compact="s")
SUPPORTED: Final = register("Supported", parse_token, compact="k", multiple=True)
TIMESTAMP: Final = register("Timestamp", parse_timestamp)
TO: Final = register("To", parse_address, compact="t")
UNSUPPORTED: Final = register("Unsupported", parse_token, multiple=True)
USER_AGENT: Final = register("User-Agent", parse_text)
VIA: Final = register("Via", parse_via, compact="v", multiple=True)
WARNING: Final = register("Warning", parse_warning, multiple=True)
WWW_AUTHENTICATE: Final = register("WWW-Authenticate", parse_challenge, repeatable=True)

# RFC 3262, reliable provisional responses
RACK: Final = register("RAck", parse_rack)
RSEQ: Final = register("RSeq", parse_rseq)
# RFC 6665, events; RFC 5839, conditional notification
ALLOW_EVENTS: Final = register("Allow-Events", parse_token, compact="u", multiple=True)
EVENT: Final = register("Event", parse_event, compact="o")
SUBSCRIPTION_STATE: Final = register("Subscription-State", parse_subscription_state)
SUPPRESS_IF_MATCH: Final = register("Suppress-If-Match", parse_token)
# RFC 3313, media authorization
P_MEDIA_AUTHORIZATION: Final = register("P-Media-Authorization", parse_token, multiple=True)
# RFC 3323 and RFC 3325, privacy and asserted identity; Remote-Party-ID came before them
PRIVACY: Final = register("Privacy", parse_privacy)
P_ASSERTED_IDENTITY: Final = register("P-Asserted-Identity", parse_address, multiple=True)
P_PREFERRED_IDENTITY: Final = register("P-Preferred-Identity", parse_address, multiple=True)
REMOTE_PARTY_ID: Final = register("Remote-Party-ID", parse_name_addr, multiple=True)
# RFC 3326
REASON: Final = register("Reason", parse_reason, multiple=True)
# RFC 3327 and RFC 3608
PATH: Final = register("Path", parse_route, multiple=True)
SERVICE_ROUTE: Final = register("Service-Route", parse_route, multiple=True)
# RFC 3329, security agreement
SECURITY_CLIENT: Final = register("Security-Client", parse_parameterized, multiple=True)
SECURITY_SERVER: Final = register("Security-Server", parse_parameterized, multiple=True)
SECURITY_VERIFY: Final = register("Security-Verify", parse_parameterized, multiple=True)
# RFC 7315, 3GPP
P_ACCESS_NETWORK_INFO: Final = register("P-Access-Network-Info", parse_text, multiple=True)
P_ASSOCIATED_URI: Final = register("P-Associated-URI", parse_name_addr, multiple=True)
P_CALLED_PARTY_ID: Final = register("P-Called-Party-ID", parse_name_addr)
P_CHARGING_FUNCTION_ADDRESSES: Final = register("P-Charging-Function-Addresses", parse_text, multiple=True)
P_CHARGING_VECTOR: Final = register("P-Charging-Vector", parse_text)
P_VISITED_NETWORK_ID: Final = register("P-Visited-Network-ID", parse_text, multiple=True)
# RFC 3515, RFC 3892, RFC 4488: transfer
REFER_TO: Final = register("Refer-To", parse_address, compact="r")
REFERRED_BY: Final = register("Referred-By", parse_address, compact="b")
REFER_SUB: Final = register("Refer-Sub", parse_refer_sub)
# RFC 3841, caller preferences
ACCEPT_CONTACT: Final = register("Accept-Contact", parse_parameterized, compact="a", multiple=True)
REJECT_CONTACT: Final = register("Reject-Contact", parse_parameterized, compact="j", multiple=True)
REQUEST_DISPOSITION: Final = register("Request-Disposition", parse_token, compact="d", multiple=True)
# RFC 3891, RFC 3911, RFC 4538: references to a dialog
REPLACES: Final = register("Replaces", parse_replaces)
JOIN: Final = register("Join", parse_join)
TARGET_DIALOG: Final = register("Target-Dialog", parse_target_dialog)
# RFC 3903, publication
SIP_ETAG: Final = register("SIP-ETag", parse_token)
SIP_IF_MATCH: Final = register("SIP-If-Match", parse_token)
# RFC 4028, session timers
SESSION_EXPIRES: Final = register("Session-Expires", parse_session_expires, compact="x")
MIN_SE: Final = register("Min-SE", parse_min_se)
# RFC 4412, resource priority
RESOURCE_PRIORITY: Final = register("Resource-Priority", parse_resource_value, multiple=True)
ACCEPT_RESOURCE_PRIORITY: Final = register("Accept-Resource-Priority", parse_resource_value, multiple=True)
# RFC 8224, identity; Identity-Info is of RFC 4474
IDENTITY: Final = register("Identity", parse_text, compact="y", repeatable=True)
IDENTITY_INFO: Final = register("Identity-Info", parse_text, compact="n")
# RFC 5009, early media
P_EARLY_MEDIA: Final = register("P-Early-Media", parse_token, multiple=True)
# RFC 5318, RFC 5373: what answers
P_REFUSED_URI_LIST: Final = register("P-Refused-URI-List", parse_name_addr, multiple=True)
ANSWER_MODE: Final = register("Answer-Mode", parse_parameterized)
PRIV_ANSWER_MODE: Final = register("Priv-Answer-Mode", parse_parameterized)
# RFC 5360, consent
PERMISSION_MISSING: Final = register("Permission-Missing", parse_address, multiple=True)
TRIGGER_CONSENT: Final = register("Trigger-Consent", parse_text, multiple=True)
# RFC 5393, forking
MAX_BREADTH: Final = register("Max-Breadth", parse_max_breadth)
# RFC 5626, outbound
FLOW_TIMER: Final = register("Flow-Timer", parse_seconds)
# RFC 5806 and RFC 7044, diversion and history
DIVERSION: Final = register("Diversion", parse_name_addr, multiple=True)
HISTORY_INFO: Final = register("History-Info", parse_name_addr, multiple=True)
# RFC 6086, INFO packages
INFO_PACKAGE: Final = register("Info-Package", parse_parameterized)
RECV_INFO: Final = register("Recv-Info", parse_parameterized, multiple=True)
# RFC 6442, location
GEOLOCATION: Final = register("Geolocation", parse_information, multiple=True)
GEOLOCATION_ERROR: Final = register("Geolocation-Error", parse_text)
GEOLOCATION_ROUTING: Final = register("Geolocation-Routing", parse_parameterized)
# RFC 6794, session policies
POLICY_CONTACT: Final = register("Policy-Contact", parse_text, multiple=True)
POLICY_ID: Final = register("Policy-ID", parse_text, multiple=True)
# RFC 6809, feature capabilities
FEATURE_CAPS: Final = register("Feature-Caps", parse_parameterized, multiple=True)
# RFC 7433 and RFC 7989
USER_TO_USER: Final = register("User-to-User", parse_user_to_user, multiple=True)
SESSION_ID: Final = register("Session-ID", parse_session_id)
