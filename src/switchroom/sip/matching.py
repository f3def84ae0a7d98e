"""Which transaction a message belongs to (RFC 3261 §17.1.3 and §17.2.3) and where a response goes (§18.2)."""

from __future__ import annotations

from typing import Final

from .flow import TLS, UDP, Flow
from .grammar import Params
from .headers import VIA, Via
from .host import ipv6_groups, is_ipv4
from .message import Request

MAGIC_COOKIE: Final = "z9hG4bK"
"""How a branch begins that is unique across space and time (RFC 3261 §8.1.1.7)."""

_OLD: Final = "2543"
_AFTER_FLAG: Final = ("", ";")


def client_key(branch: str, method: str) -> str:
    """The key of a client transaction: a CANCEL has the branch of what it cancels (§9.1), no other two share one."""
    return branch + " CANCEL" if method == "CANCEL" else branch


def server_key(request: Request, via: Via) -> str:
    """The key of the server transaction that *request*, with *via* on top, belongs to, but for its method.

    With the magic cookie, and something after it (RFC 4475 §3.2.1), that is branch and sent-by, else what RFC 2543
    goes by.
    """
    branch = via.params.get("branch")
    if branch is not None and branch.startswith(MAGIC_COOKIE) and len(branch) > len(MAGIC_COOKIE):
        return f"{branch} {via.sent_by}".lower()
    return old_key(request.method, request, _render(via, via.params), request.to.tag)


def old_key(method: str, request: Request, via: str, to_tag: str | None) -> str:
    """The key of an RFC 2543 request.

    The ACK has its own, which is that of the INVITE with *to_tag* of the response that it acknowledges; all other
    methods share one, so that a CANCEL finds what it cancels (§9.2).
    """
    number = str(request.cseq.number)
    kind = "ACK" if method == "ACK" else ""
    tags = (to_tag or "", request.from_.tag or "")
    return "\n".join((_OLD, kind, request.uri_text, *tags, request.call_id, number, via))


def is_old(key: str) -> bool:
    """Whether a server transaction's key is that of an RFC 2543 request."""
    return key.startswith(_OLD)


def same_sent_by(via: Via, flow: Flow) -> bool:
    """Whether a response's top Via is the one that this side put into the request (§18.1.2)."""
    if via.sent_by == flow.sent_by:
        return True
    return via.sent_by.lower() == flow.sent_by.lower()


def stamp_source(request: Request, via: Via, flow: Flow) -> None:
    """Write into *via*, the topmost of *request*, where it came from (§18.2.1; RFC 3581 §4).

    `received` when the sent-by is a name or another address, or `rport` is asked for.  What a sender claims there by
    itself is overwritten.
    """
    params = via.params
    host, port = flow.remote
    asks = params.has("rport")
    claims = params.has("received")
    if not asks and not claims and via.host == host:
        return
    text = request.headers.get(VIA) or ""
    flag = text.find(";rport")
    if claims or "," in text or '"' in text or (asks and (flag < 0 or text[flag + 6 : flag + 7] not in _AFTER_FLAG)):
        params = params.with_("received", host)
        if asks:
            params = params.with_("rport", str(port))
        text = _render(via, params)
    elif asks:
        text = f"{text[:flag]};rport={port};received={host}{text[flag + 6 :]}"
    else:
        text = f"{text};received={host}"
    request.headers.replace_first(VIA, text)


def _render(via: Via, params: Params) -> str:
    """As `str(via)`, but with whatever octets it came with."""
    return f"{via.protocol}/{via.transport} {via.sent_by}{params}"


def response_flow(via: Via, flow: Flow) -> Flow:
    """Where to send the responses to a request that came on *flow* with *via* on top (§18.2.2; RFC 3581 §4).

    A maddr counts where it is "the address listed there"; that of a name would first have to be asked for, and the
    source is where the peer is.  A multicast one is sent to with the time to live of 1 that systems begin with,
    whatever the ttl says: nobody's request makes us heard beyond the link.
    """
    if flow.transport != UDP:
        return flow
    params = via.params
    if params.has("maddr"):
        maddr = via.maddr
        if maddr is not None and _is_elsewhere(maddr):
            return flow._replace(remote=(maddr, sent_by_port(via, flow)))
    if params.has("rport") or sent_by_port(via, flow) == flow.remote[1]:
        return flow
    return flow._replace(remote=(flow.remote[0], sent_by_port(via, flow)))


def _is_elsewhere(host: str) -> bool:
    """Whether *host* is an address, and none that means this host or all of the link.

    A request from outside would otherwise have its answers sent to any port of services that listen to this host only.
    """
    if is_ipv4(host):
        return host.partition(".")[0] not in ("0", "127") and host != "255.255.255.255"
    groups = ipv6_groups(host)
    # ::/96 has :: and ::1, and IPv4 addresses are in it and in ::ffff:0:0/96
    return groups is not None and (any(groups[:5]) or groups[5] not in (0, 0xFFFF))


def sent_by_port(via: Via, flow: Flow) -> int:
    """The port of sent-by, or the default one of the transport (§18.2.2)."""
    return via.port or (5061 if flow.transport == TLS else 5060)
