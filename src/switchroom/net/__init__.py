"""The asyncio side: transports, DNS and the endpoint that drives the machines of `switchroom.sip`."""

from __future__ import annotations

from .address import ListenAddress
from .dns import Answer, DnsResolver, Resolver
from .endpoint import Chooser, Endpoint, RequestTimeout
from .identifiers import SystemIdentifiers
from .incoming import IncomingRequest
from .limits import TransportLimits
from .loop import new_event_loop, run
from .tap import Tap, TapRecord
from .tls import Certificate, GivenContexts, TlsSettings, TlsSource

__all__ = [
    "Answer",
    "Certificate",
    "Chooser",
    "DnsResolver",
    "Endpoint",
    "GivenContexts",
    "IncomingRequest",
    "ListenAddress",
    "RequestTimeout",
    "Resolver",
    "SystemIdentifiers",
    "Tap",
    "TapRecord",
    "TlsSettings",
    "TlsSource",
    "TransportLimits",
    "new_event_loop",
    "run",
]
