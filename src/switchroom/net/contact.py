"""The right address in Contact by itself: `0.0.0.0` stands for whatever address the peer reaches us by."""

from __future__ import annotations

from typing import Final

from ..sip.errors import RemoteProtocolError
from ..sip.flow import UDP, Flow
from ..sip.headers import CONTACT
from ..sip.message import Message
from ..sip.uri import SipUri
from .address import split_host_port

PLACEHOLDERS: Final = ("0.0.0.0", "::")
"""Hosts of a Contact that mean "here": they can be no real ones."""


def has_placeholder(message: Message) -> bool:
    """Whether a Contact of *message* is to be filled in."""
    if CONTACT not in message.headers:
        return False
    return any("0.0.0.0" in line or "[::]" in line for line in message.headers.get_all(CONTACT))


def fill_contact(message: Message, flow: Flow, public: tuple[str, int] | None) -> None:
    """Replace the placeholder in each Contact by our address as the peer of *flow* sees it.

    That is *public* if it is known (behind a NAT), else what the Via says; with the transport parameter that makes
    requests come back the same way.  A `sips` Contact keeps its scheme and needs none on TLS (RFC 3261 §26.2.2).
    """
    if public is not None:
        host, port = public
    else:
        host, known = split_host_port(flow.sent_by)
        port = known or flow.local[1]
    try:
        contacts = message.contacts
    except RemoteProtocolError:
        return  # not ours to mend
    lines: list[str] = []
    for contact in contacts:
        uri = contact.uri
        if isinstance(uri, SipUri) and uri.host in PLACEHOLDERS:
            uri = uri.replace(host=host, port=port)
            if flow.transport != UDP and uri.transport is None and not (uri.secure and flow.transport == "TLS"):
                uri = uri.replace(params=uri.params.with_("transport", flow.transport.lower()))
            contact = contact._replace(uri=uri)
        lines.append(str(contact))
    if lines:
        message.headers.set(CONTACT, ", ".join(lines))
