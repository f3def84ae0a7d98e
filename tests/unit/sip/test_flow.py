"""Flows."""

from __future__ import annotations

import pytest

from switchroom.sip.flow import TCP, TLS, UDP, WS, WSS, Flow


@pytest.mark.parametrize(
    ("transport", "reliable", "secure"),
    [(UDP, False, False), (TCP, True, False), (TLS, True, True), (WS, True, False), (WSS, True, True)],
)
def test_what_a_transport_gives(transport: str, reliable: bool, secure: bool) -> None:
    flow = Flow(transport, ("192.0.2.2", 5060), ("192.0.2.1", 5060), "192.0.2.1")
    assert flow.reliable is reliable
    assert flow.secure is secure


def test_a_reconnect_is_another_flow() -> None:
    flow = Flow(TCP, ("192.0.2.2", 5060), ("192.0.2.1", 5060), "192.0.2.1", 1)
    assert flow != flow._replace(connection=2)
    assert {flow: 1}[flow._replace(peer_names=())] == 1
