"""A flow: the transport-layer association over which messages travel (RFC 5626 §1.2)."""

from __future__ import annotations

from typing import Final, NamedTuple

UDP: Final = "UDP"
TCP: Final = "TCP"
TLS: Final = "TLS"
WS: Final = "WS"
WSS: Final = "WSS"

_SECURE: Final = frozenset((TLS, WSS))


class Flow(NamedTuple):
    """Where a message came from or goes to: a value, compared and hashed by all its fields.

    `remote` and `local` are (host, port) with IPv6 hosts unbracketed.  `sent_by` is the `host[:port]` that this
    side advertises in a Via on the flow.  `connection` numbers one connection of a stream transport, so that a
    reconnect is another flow; 0 on a stream means any connection to `remote`, opened when there is none.
    `peer_names` are the identities of the peer's verified certificate (RFC 5922 §7.1).
    """

    transport: str
    remote: tuple[str, int]
    local: tuple[str, int]
    sent_by: str
    connection: int = 0
    peer_names: tuple[str, ...] = ()

    @property
    def reliable(self) -> bool:
        """Whether the transport repeats lost data by itself, so that SIP must not (RFC 3261 §17)."""
        return self.transport != UDP

    @property
    def secure(self) -> bool:
        """Whether the hop is encrypted: TLS or WSS."""
        return self.transport in _SECURE
