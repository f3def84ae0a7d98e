"""The Contact that leaves its address to us."""

from __future__ import annotations

import pytest

from switchroom.net.contact import fill_contact, has_placeholder
from switchroom.sip.flow import Flow
from switchroom.sip.message import Request

REMOTE, LOCAL = ("192.0.2.1", 5060), ("192.0.2.2", 40000)


def request(contact: str | None) -> Request:
    headers = () if contact is None else (("Contact", contact),)
    return Request.build(
        "OPTIONS", "sip:bob@example.com", from_="<sip:a@x>", to="<sip:b@x>", call_id="c", cseq=1, headers=headers
    )


def flow(transport: str, sent_by: str = "192.0.2.2:5060") -> Flow:
    return Flow(transport, REMOTE, LOCAL, sent_by)


@pytest.mark.parametrize(
    ("transport", "contact", "filled"),
    [
        ("UDP", "<sip:alice@0.0.0.0>", "<sip:alice@192.0.2.2:5060>"),
        ("TCP", "<sip:alice@0.0.0.0>;expires=60", "<sip:alice@192.0.2.2:5060;transport=tcp>;expires=60"),
        ("TLS", "<sips:alice@[::]>", "<sips:alice@192.0.2.2:5060>"),
        ("TLS", "<sip:alice@0.0.0.0;ob>", "<sip:alice@192.0.2.2:5060;ob;transport=tls>"),
        ("WS", "<sip:alice@0.0.0.0;transport=ws>", "<sip:alice@192.0.2.2:5060;transport=ws>"),
        ("UDP", "<sip:a@0.0.0.0>, <sip:b@example.com>", "<sip:a@192.0.2.2:5060>, <sip:b@example.com>"),
    ],
)
def test_the_placeholder_is_filled_in(transport: str, contact: str, filled: str) -> None:
    message = request(contact)
    assert has_placeholder(message)
    fill_contact(message, flow(transport), None)
    assert message.headers.get("Contact") == filled


def test_the_address_that_the_peer_sees_is_better() -> None:
    message = request("<sip:alice@0.0.0.0>")
    fill_contact(message, flow("UDP"), ("198.51.100.7", 61000))
    assert message.headers.get("Contact") == "<sip:alice@198.51.100.7:61000>"


def test_an_advertised_host_without_port_takes_the_local_one() -> None:
    message = request("<sip:alice@0.0.0.0>")
    fill_contact(message, flow("UDP", "[2001:db8::1]"), None)
    assert message.headers.get("Contact") == "<sip:alice@[2001:db8::1]:40000>"


@pytest.mark.parametrize("contact", [None, "<sip:alice@192.0.2.9>", "*"])
def test_other_contacts_are_not_touched(contact: str | None) -> None:
    assert not has_placeholder(request(contact))


def test_a_malformed_contact_is_left_as_it_is() -> None:
    message = request("<sip:alice@0.0.0.0")
    fill_contact(message, flow("UDP"), None)
    assert message.headers.get("Contact") == "<sip:alice@0.0.0.0"
