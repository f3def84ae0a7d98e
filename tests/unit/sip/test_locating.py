"""Locating next hops: each rule of RFC 3263 §4 and §5, with zones as its answers."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchroom.sip.errors import LocalProtocolError
from switchroom.sip.headers import Via
from switchroom.sip.headers.via import parse_via
from switchroom.sip.locating import (
    Address,
    Alias,
    Hop,
    LocatingPolicy,
    Locator,
    LookupFailed,
    Naptr,
    Question,
    Record,
    Srv,
    Target,
    canonical_address,
    order_srv,
    response_targets,
)
from switchroom.sip.uri import SipUri, parse_uri

ALL = ("UDP", "TCP", "TLS", "WS", "WSS")
Zone = dict[tuple[str, str], Any]


class Dice:
    """Identifiers whose random numbers are given, then 0."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def token(self, bits: int = 64) -> str:
        raise AssertionError("locating needs no tokens")

    def random(self) -> float:
        return self.values.pop(0) if self.values else 0.0


class Seeded(Dice):
    """Identifiers with a seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.source = random.Random(seed)

    def random(self) -> float:
        return self.source.random()


def run(locator: Locator, zone: Zone) -> list[Question]:
    """Answer all questions of a locator from a zone, and return them."""
    asked: list[Question] = []
    while not locator.done:
        questions = locator.take_questions()
        assert questions, "not done, and nothing to ask"
        for question in questions:
            assert question not in asked, "asked twice"
            asked.append(question)
            locator.answer(question, zone.get((question.name, question.rtype), ()), 1.0)
    assert locator.take_questions() == []
    return asked


def locate(uri: str, zone: Zone | None = None, supported: tuple[str, ...] = ALL, **options: Any) -> Locator:
    locator = Locator(parse_uri(uri), supported, Dice(), **options)
    run(locator, zone or {})
    return locator


def hops(uri: str, zone: Zone | None = None, supported: tuple[str, ...] = ALL, **options: Any) -> list[str]:
    return [str(hop) for hop in locate(uri, zone, supported, **options).hops]


def a(*hosts: str) -> tuple[str, ...]:
    return hosts


EXAMPLE: Zone = {
    # the example of RFC 3263 §4.1
    ("example.com", "NAPTR"): (
        Naptr(50, 50, "s", "SIPS+D2T", "", "_sips._tcp.example.com."),
        Naptr(90, 50, "s", "SIP+D2T", "", "_sip._tcp.example.com"),
        Naptr(100, 50, "s", "SIP+D2U", "", "_sip._udp.example.com."),
    ),
    ("_sips._tcp.example.com", "SRV"): (Srv(0, 1, 5061, "server1.example.com"),),
    ("_sip._tcp.example.com", "SRV"): (
        Srv(0, 1, 5060, "server1.example.com"),
        Srv(0, 2, 5060, "server2.example.com"),
    ),
    ("_sip._udp.example.com", "SRV"): (Srv(0, 0, 5060, "server1.example.com"),),
    ("server1.example.com", "A"): a("192.0.2.1"),
    ("server2.example.com", "A"): a("192.0.2.2"),
    ("example.com", "A"): a("192.0.2.9"),
}


# -- without DNS -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sip:192.0.2.1", "UDP:192.0.2.1:5060"),
        ("sip:bob@192.0.2.1:5070", "UDP:192.0.2.1:5070"),
        ("sip:192.0.2.1;transport=tcp", "TCP:192.0.2.1:5060"),
        ("sip:192.0.2.1;transport=TCP", "TCP:192.0.2.1:5060"),
        ("sip:192.0.2.1;transport=tls", "TLS:192.0.2.1:5061"),
        ("sip:192.0.2.1;transport=ws", "WS:192.0.2.1:80"),
        ("sip:192.0.2.1;transport=wss", "WSS:192.0.2.1:443"),
        ("sips:192.0.2.1", "TLS:192.0.2.1:5061"),
        ("sips:192.0.2.1:5080", "TLS:192.0.2.1:5080"),
        ("sips:192.0.2.1;transport=tcp", "TLS:192.0.2.1:5061"),
        ("sips:192.0.2.1;transport=tls", "TLS:192.0.2.1:5061"),
        ("sips:192.0.2.1;transport=ws", "WSS:192.0.2.1:443"),
        ("sips:192.0.2.1;transport=wss", "WSS:192.0.2.1:443"),
        ("sip:[2001:DB8::1]", "UDP:[2001:db8::1]:5060"),
        ("sip:[2001:db8:0:0::1]:5070;transport=tcp", "TCP:[2001:db8::1]:5070"),
        ("sip:example.com;maddr=192.0.2.7", "UDP:192.0.2.7:5060"),
        ("sip:example.com:5070;maddr=192.0.2.7;transport=tcp", "TCP:192.0.2.7:5070"),
        ("sip:example.com;maddr=[2001:db8::7]", "UDP:[2001:db8::7]:5060"),
    ],
)
def test_numeric_target_needs_no_question(uri: str, expected: str) -> None:
    locator = Locator(parse_uri(uri), ALL)
    assert locator.done
    assert locator.take_questions() == []
    assert [str(hop) for hop in locator.hops] == [expected]
    assert locator.answered_at is None
    assert locator.reason == ""


def test_first_supported_transport_when_udp_is_not() -> None:
    assert hops("sip:192.0.2.1", supported=("TCP", "TLS")) == ["TCP:192.0.2.1:5060"]
    assert hops("sips:192.0.2.1", supported=("WSS", "TCP")) == ["WSS:192.0.2.1:443"]


def test_sips_is_never_sent_by_udp() -> None:
    locator = locate("sips:192.0.2.1;transport=udp")
    assert locator.hops == ()
    assert locator.reason == "a sips URI cannot be reached by UDP, only by TLS or WSS"


def test_sips_without_a_secure_transport_of_ours() -> None:
    locator = locate("sips:example.com", EXAMPLE, ("UDP", "TCP", "WS"))
    assert locator.hops == ()
    assert locator.reason == "a sips URI needs TLS or WSS, and neither is among our transports"


def test_transport_that_we_do_not_speak() -> None:
    assert locate("sip:192.0.2.1;transport=sctp").reason == "transport SCTP is not among ours (UDP, TCP, TLS, WS, WSS)"
    assert locate("sip:192.0.2.1;transport=tls", supported=("UDP",)).reason == "transport TLS is not among ours (UDP)"
    assert "TLS" in locate("sips:192.0.2.1;transport=tcp", supported=("WSS",)).reason


def test_request_uri_with_sips_makes_its_route_secure() -> None:
    # RFC 3261 §16.6 item 7
    assert hops("sip:192.0.2.1;lr", secure=True) == ["TLS:192.0.2.1:5061"]
    assert hops("sip:192.0.2.1;lr;transport=tcp", secure=True) == ["TLS:192.0.2.1:5061"]
    locator = Locator(Target("192.0.2.1"), ALL, secure=True)
    assert [str(hop) for hop in locator.hops] == ["TLS:192.0.2.1:5061"]


def test_multicast_target_has_a_time_to_live() -> None:
    def ttl(uri: str) -> int | None:
        return locate(uri).hops[0].ttl

    assert ttl("sip:224.0.1.75") == 1
    assert ttl("sip:example.com;maddr=239.255.255.1;ttl=15") == 15
    assert ttl("sip:example.com;maddr=[ff02::1];ttl=3") == 3
    for malformed in ("256", "1000", "x", "+1", "%c2%b2", "9" * 5000):
        assert ttl(f"sip:224.0.1.75;ttl={malformed}") == 1
    assert ttl("sip:192.0.2.1;ttl=15") is None
    assert ttl("sip:[2001:db8::1];ttl=15") is None


def test_no_host_no_search() -> None:
    with pytest.raises(LocalProtocolError, match="map it to a sip or sips URI first"):
        Locator(parse_uri("tel:+4930123456"), ALL)
    with pytest.raises(LocalProtocolError, match="no transport"):
        Locator(parse_uri("sip:192.0.2.1"), ())


# -- explicit port: A and AAAA ---------------------------------------------------------------------------------------


def test_explicit_port_asks_for_addresses_only() -> None:
    # §4.2: "Previously, if the port was explicit, but with a value of 5060, SRV records were used.  Now, A or AAAA"
    locator = Locator(parse_uri("sip:Example.COM.:5060"), ALL)
    assert run(locator, {**EXAMPLE, ("example.com", "AAAA"): a("2001:db8::9")}) == [
        Question("example.com", "AAAA"),
        Question("example.com", "A"),
    ]
    assert locator.hops == (
        Hop("UDP", "2001:db8::9", 5060, "example.com"),
        Hop("UDP", "192.0.2.9", 5060, "example.com"),
    )
    assert locator.answered_at == 1.0


def test_explicit_port_and_sips_is_tls() -> None:
    assert hops("sips:example.com:5070", EXAMPLE) == ["TLS:192.0.2.9:5070"]


def test_families_alternate_and_keep_their_order() -> None:
    zone = {
        ("h.example", "A"): a("192.0.2.1", "192.0.2.2", "192.0.2.3"),
        ("h.example", "AAAA"): a("2001:db8::1"),
    }
    assert hops("sip:h.example:1", zone) == [
        "UDP:[2001:db8::1]:1", "UDP:192.0.2.1:1", "UDP:192.0.2.2:1", "UDP:192.0.2.3:1",
    ]  # fmt: skip
    ipv4_first = LocatingPolicy(families=("A", "AAAA"))
    assert hops("sip:h.example:1", zone, policy=ipv4_first)[:2] == ["UDP:192.0.2.1:1", "UDP:[2001:db8::1]:1"]
    ipv4_only = LocatingPolicy(families=("A",))
    assert hops("sip:h.example:1", {**zone, ("h.example", "A"): a()}, policy=ipv4_only) == []


def test_records_of_another_family_or_type_are_no_answer() -> None:
    zone = {
        ("h.example", "A"): (Address("h.example", "2001:db8::1"), Srv(0, 0, 1, "x"), "no address", "192.0.2.1"),
        ("h.example", "AAAA"): a("192.0.2.2"),
    }
    assert hops("sip:h.example:1", zone) == ["UDP:192.0.2.1:1"]


def test_no_address_is_told() -> None:
    locator = locate("sip:h.example:5060", {})
    assert locator.hops == ()
    assert locator.reason == "no address (AAAA or A) for h.example"


# -- transport given, no port: SRV -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("sip:example.com;transport=udp", "_sip._udp.example.com"),
        ("sip:example.com;transport=tcp", "_sip._tcp.example.com"),
        ("sip:example.com;transport=tls", "_sips._tcp.example.com"),
        ("sip:example.com;transport=ws", "_sip._ws.example.com"),
        ("sips:example.com;transport=tcp", "_sips._tcp.example.com"),
        ("sips:example.com;transport=ws", "_sips._ws.example.com"),
    ],
)
def test_given_transport_is_looked_up_by_its_service(uri: str, name: str) -> None:
    locator = Locator(parse_uri(uri), ALL)
    assert locator.take_questions() == [Question(name, "SRV")]


def test_srv_gives_port_and_host_and_the_domain_remains_the_identity() -> None:
    zone = {
        ("_sips._tcp.example.com", "SRV"): (Srv(1, 0, 5071, "B.example.net."), Srv(0, 0, 5070, "a.example.net")),
        ("a.example.net", "A"): a("192.0.2.1"),
        ("b.example.net", "A"): a("192.0.2.2"),
    }
    assert locate("sips:bob@example.com;transport=tcp", zone).hops == (
        Hop("TLS", "192.0.2.1", 5070, "example.com"),
        Hop("TLS", "192.0.2.2", 5071, "example.com"),
    )


def test_no_srv_means_the_address_and_the_default_port() -> None:
    assert hops("sip:example.com;transport=tls", {("example.com", "A"): a("192.0.2.9")}) == ["TLS:192.0.2.9:5061"]


def test_nothing_at_all_is_told() -> None:
    locator = locate("sip:example.com;transport=udp", {})
    assert locator.reason == "no address (AAAA or A) for example.com; no SRV record for _sip._udp.example.com"


def test_srv_target_of_a_dot_is_the_end() -> None:
    # RFC 2782: the service is decidedly not available at this domain; no fall-back to its address
    zone = {("_sip._udp.example.com", "SRV"): (Srv(0, 0, 0, "."),), ("example.com", "A"): a("192.0.2.9")}
    locator = locate("sip:example.com;transport=udp", zone)
    assert locator.hops == ()
    assert locator.reason == "_sip._udp.example.com says by its SRV record that it offers no SIP over UDP"


def test_srv_records_that_lead_nowhere_are_passed_over() -> None:
    zone = {
        ("_sip._udp.example.com", "SRV"): (
            Srv(0, 0, 5060, "gone.example.com"),
            Srv(1, 0, 0, "portless.example.com"),
            Srv(2, 0, 5060, "."),
            Srv(3, 0, 5062, "192.0.2.3"),  # not allowed, but seen
            Srv(4, 0, 5060, "a.example.com"),
        ),
        ("a.example.com", "A"): a("192.0.2.1"),
    }
    locator = locate("sip:example.com;transport=udp", zone)
    assert [str(hop) for hop in locator.hops] == ["UDP:192.0.2.3:5062", "UDP:192.0.2.1:5060"]
    assert locator.reason == (
        "no address (AAAA or A) for gone.example.com; an SRV record sends to port 0 of portless.example.com"
    )


def test_addresses_beside_srv_records_are_used() -> None:
    zone = {
        ("_sip._udp.example.com", "SRV"): (
            Srv(0, 0, 5060, "a.example.com"),
            Srv(1, 0, 5060, "b.example.com"),
            Address("A.example.com.", "192.0.2.1"),
            Address("a.example.com", "2001:db8::1"),
            Address("b.example.com", "192.0.2.2"),
            Address("www.bank.example", "192.0.2.66"),
        ),
        ("b.example.com", "AAAA"): a("2001:db8::2"),
    }
    locator = Locator(parse_uri("sip:example.com;transport=udp"), ALL)
    assert run(locator, zone) == [Question("_sip._udp.example.com", "SRV"), Question("b.example.com", "AAAA")]
    assert [str(hop) for hop in locator.hops] == [
        "UDP:[2001:db8::1]:5060", "UDP:192.0.2.1:5060", "UDP:[2001:db8::2]:5060", "UDP:192.0.2.2:5060",
    ]  # fmt: skip


def test_additional_addresses_do_not_displace_an_answer() -> None:
    zone = {
        ("_sip._udp.example.com", "SRV"): (Srv(0, 0, 5060, "a.example.com"), Address("a.example.com", "192.0.2.1")),
        ("_sip._tcp.example.com", "SRV"): (Srv(0, 0, 5060, "a.example.com"), Address("a.example.com", "192.0.2.66")),
    }
    assert hops("sip:example.com", zone, ("UDP", "TCP")) == ["UDP:192.0.2.1:5060", "TCP:192.0.2.1:5060"]


# -- weights ---------------------------------------------------------------------------------------------------------


def test_priority_goes_before_weight() -> None:
    records = [Srv(2, 100, 1, "c"), Srv(1, 0, 1, "b"), Srv(0, 1, 1, "a")]
    assert [each.target for each in order_srv(records, Seeded(1))] == ["a", "b", "c"]


def test_draw_selects_by_running_sum() -> None:
    # RFC 2782: weight 0 first, then the first whose running sum is greater than or equal to the number drawn
    records = [Srv(0, 1, 1, "one"), Srv(0, 0, 1, "zero"), Srv(0, 3, 1, "three")]
    in_order = ["zero", "one", "three"]  # sums 0, 1, 4; draws are int(random * 5)
    for draw, first in ((0.0, "zero"), (0.19, "zero"), (0.2, "one"), (0.4, "three"), (0.999999, "three")):
        assert order_srv(records, Dice(draw))[0].target == first
    assert sorted(each.target for each in order_srv(records, Dice(0.5))) == sorted(in_order)


def test_share_of_first_places_follows_the_weights() -> None:
    records = [Srv(0, 10, 1, "ten"), Srv(0, 30, 1, "thirty"), Srv(0, 60, 1, "sixty"), Srv(0, 0, 1, "zero")]
    dice = Seeded(7)
    first = Counter(order_srv(records, dice)[0].target for _ in range(4000))
    assert first["ten"] == pytest.approx(400, rel=0.2)
    assert first["thirty"] == pytest.approx(1200, rel=0.15)
    assert first["sixty"] == pytest.approx(2400, rel=0.1)
    assert 0 < first["zero"] < 120, "a very small chance"


def test_without_random_numbers_the_order_is_always_the_same() -> None:
    # §4.4: a stateless proxy needs a deterministic order
    records = [Srv(0, 1, 1, "b"), Srv(0, 1, 1, "a"), Srv(0, 5, 1, "c"), Srv(1, 9, 1, "d")]
    assert [each.target for each in order_srv(records, None)] == ["c", "a", "b", "d"]
    assert order_srv(reversed(records), None) == order_srv(records, None)


@given(
    st.lists(st.builds(Srv, st.integers(0, 3), st.integers(0, 65535), st.just(5060), st.sampled_from("abcdef"))),
    st.integers(),
)
def test_order_keeps_every_record_once_and_priorities_sorted(records: list[Srv], seed: int) -> None:
    ordered = order_srv(records, Seeded(seed))
    assert Counter(ordered) == Counter(records)
    assert [each.priority for each in ordered] == sorted(each.priority for each in records)


def test_no_more_records_are_drawn_than_will_be_used() -> None:
    # A name's owner may answer with thousands of records; the work must not grow with their square.
    class Counting(Seeded):
        drawn = 0

        def random(self) -> float:
            self.drawn += 1
            return super().random()

    for priority in (0, 1):
        records = [Srv(priority * each, each, 5060, f"h{each}.example.com") for each in range(3000)]
        dice = Counting(5)
        locator = Locator(parse_uri("sip:example.com;transport=tcp"), ("TCP",), dice)
        (question,) = locator.take_questions()
        locator.answer(question, records, 1.0)
        assert dice.drawn == LocatingPolicy().max_hops
        assert len({each.name for each in locator.take_questions()}) == LocatingPolicy().max_hops
    assert order_srv(records, None, 2) == records[:2]


def test_addresses_beside_records_that_are_not_used_are_not_looked_at() -> None:
    records = [Srv(each, 0, 5060, f"h{each}.example.com") for each in range(20)]
    beside = [Address(each.target, f"192.0.2.{each.priority}") for each in records]
    locator = Locator(parse_uri("sip:example.com;transport=tcp"), ("TCP",), Seeded(5))
    (question,) = locator.take_questions()
    locator.answer(question, [*records, *beside], 1.0)
    assert {each.rtype for each in locator.take_questions()} == {"AAAA"}
    assert Question("h15.example.com", "A") in locator._answers
    assert Question("h16.example.com", "A") not in locator._answers


# -- NAPTR -----------------------------------------------------------------------------------------------------------


def test_naptr_names_the_preferred_transport_that_both_speak() -> None:
    # the example of §4.1, for a client without TLS: TCP, by server1 and server2
    locator = Locator(parse_uri("sip:user@example.com"), ("UDP", "TCP"), Dice(0.0, 0.0))
    asked = run(locator, EXAMPLE)
    assert asked[:2] == [Question("example.com", "NAPTR"), Question("_sip._tcp.example.com", "SRV")]
    assert Question("_sip._udp.example.com", "SRV") not in asked, "a higher order after a match is not considered"
    assert [str(hop) for hop in locator.hops] == ["TCP:192.0.2.1:5060", "TCP:192.0.2.2:5060"]


def test_sip_uri_may_be_led_to_tls() -> None:
    assert hops("sip:user@example.com", EXAMPLE) == ["TLS:192.0.2.1:5061"]


def test_sips_uri_discards_services_without_sips() -> None:
    zone = {**EXAMPLE, ("example.com", "NAPTR"): EXAMPLE["example.com", "NAPTR"][1:]}
    locator = Locator(parse_uri("sips:user@example.com"), ("UDP", "TCP", "TLS"))
    asked = run(locator, zone)
    assert Question("_sip._tcp.example.com", "SRV") not in asked
    assert [str(hop) for hop in locator.hops] == ["TLS:192.0.2.1:5061"], "by the SRV record of the domain"


def test_preference_orders_records_of_the_same_order() -> None:
    zone = {
        ("example.com", "NAPTR"): (
            Naptr(10, 20, "S", "sip+d2t", "", "_sip._tcp.example.net"),
            Naptr(10, 10, "s", "SIP+D2U", "", "_sip._udp.example.net"),
            Naptr(20, 5, "s", "SIP+D2W", "", "_sip._ws.example.net"),
        ),
        ("_sip._tcp.example.net", "SRV"): (Srv(0, 0, 5060, "a.example.net"),),
        ("_sip._udp.example.net", "SRV"): (Srv(0, 0, 5060, "a.example.net"),),
        ("_sip._ws.example.net", "SRV"): (Srv(0, 0, 80, "a.example.net"),),
        ("a.example.net", "A"): a("192.0.2.1"),
    }
    assert locate("sip:example.com", zone).hops == (
        Hop("UDP", "192.0.2.1", 5060, "example.com"),
        Hop("TCP", "192.0.2.1", 5060, "example.com"),
    )


def test_next_order_when_the_lowest_leads_nowhere() -> None:
    zone = {**EXAMPLE, ("_sips._tcp.example.com", "SRV"): (Srv(0, 0, 0, "."),)}
    locator = Locator(parse_uri("sip:example.com"), ALL, Dice())
    run(locator, zone)
    assert {hop.transport for hop in locator.hops} == {"TCP"}


def test_websocket_services() -> None:
    # RFC 7118 §5.3
    zone = {
        ("example.com", "NAPTR"): (
            Naptr(10, 10, "s", "SIP+D2W", "", "_sip._ws.example.com"),
            Naptr(20, 10, "s", "SIPS+D2W", "", "_sips._ws.example.com"),
        ),
        ("_sip._ws.example.com", "SRV"): (Srv(0, 0, 80, "a.example.com"),),
        ("_sips._ws.example.com", "SRV"): (Srv(0, 0, 443, "a.example.com"),),
        ("a.example.com", "A"): a("192.0.2.1"),
    }
    assert hops("sip:example.com", zone) == ["WS:192.0.2.1:80"]
    assert hops("sips:example.com", zone) == ["WSS:192.0.2.1:443"]


def test_flag_a_leads_to_addresses() -> None:
    zone = {
        ("example.com", "NAPTR"): (Naptr(10, 10, "a", "SIPS+D2T", "", "Host.example.com."),),
        ("host.example.com", "A"): a("192.0.2.1"),
    }
    assert locate("sip:example.com", zone).hops == (Hop("TLS", "192.0.2.1", 5061, "example.com"),)


@pytest.mark.parametrize(
    "record",
    [
        Naptr(1, 1, "u", "E2U+sip", "!^.*$!sip:info@example.com!", "."),
        Naptr(1, 1, "s", "SIP+D2S", "", "_sip._sctp.example.com"),
        Naptr(1, 1, "", "SIP+D2U", "", "other.example.com"),
        Naptr(1, 1, "s", "SIP+D2U", "!x!y!", "_sip._udp.example.net"),
        Naptr(1, 1, "s", "SIP+D2U", "", "."),
        Address("example.com", "192.0.2.1"),
    ],
)
def test_naptr_records_that_do_not_apply_are_discarded(record: Record) -> None:
    zone = {**EXAMPLE, ("example.com", "NAPTR"): (record,)}
    locator = Locator(parse_uri("sip:example.com"), ("UDP",))
    assert run(locator, zone)[1] == Question("_sip._udp.example.com", "SRV")
    assert [str(hop) for hop in locator.hops] == ["UDP:192.0.2.1:5060"]


# -- no NAPTR: SRV for each transport --------------------------------------------------------------------------------


def test_srv_questions_for_every_supported_transport_at_once() -> None:
    locator = Locator(parse_uri("sip:example.com"), ("TCP", "UDP", "TLS"))
    assert locator.take_questions() == [Question("example.com", "NAPTR")]
    locator.answer(Question("example.com", "NAPTR"), [], 1.0)
    assert locator.take_questions() == [
        Question("_sip._tcp.example.com", "SRV"),
        Question("_sip._udp.example.com", "SRV"),
    ]


def test_found_transports_in_our_order_of_preference() -> None:
    zone = {key: value for key, value in EXAMPLE.items() if key[1] != "NAPTR"}
    assert [hop.transport for hop in locate("sip:example.com", zone, ("TCP", "UDP")).hops] == ["TCP", "TCP", "UDP"]
    assert [hop.transport for hop in locate("sip:example.com", zone, ("UDP", "TCP")).hops] == ["UDP", "TCP", "TCP"]
    assert [hop.transport for hop in locate("sip:example.com", zone, ("TLS",)).hops] == ["TLS"]
    assert [hop.transport for hop in locate("sips:example.com", zone).hops] == ["TLS"]


def test_naptr_question_can_be_switched_off() -> None:
    locator = Locator(parse_uri("sip:example.com"), ("UDP",), policy=LocatingPolicy(naptr=False))
    assert locator.take_questions() == [Question("_sip._udp.example.com", "SRV")]


def test_domain_without_records_but_an_address() -> None:
    zone = {("example.com", "A"): a("192.0.2.9")}
    assert hops("sip:example.com", zone) == ["UDP:192.0.2.9:5060"]
    assert hops("sips:example.com", zone) == ["TLS:192.0.2.9:5061"]
    assert hops("sip:example.com", zone, ("TCP",)) == ["TCP:192.0.2.9:5060"]


def test_transport_refused_by_a_dot_and_another_offered() -> None:
    zone = {
        ("_sip._udp.example.com", "SRV"): (Srv(0, 0, 0, "."),),
        ("_sip._tcp.example.com", "SRV"): (Srv(0, 0, 5060, "a.example.com"),),
        ("a.example.com", "A"): a("192.0.2.1"),
    }
    assert hops("sip:example.com", zone, ("UDP", "TCP")) == ["TCP:192.0.2.1:5060"]


def test_all_that_was_missing_is_told() -> None:
    assert locate("sip:example.com", {}, ("UDP", "TCP")).reason == (
        "no address (AAAA or A) for example.com; no SRV record for _sip._udp.example.com or _sip._tcp.example.com"
    )


# -- large requests --------------------------------------------------------------------------------------------------


def test_large_request_prefers_tcp_and_keeps_udp_as_last_resort() -> None:
    # RFC 3261 §18.1.1
    assert hops("sip:192.0.2.1", large=True) == ["TCP:192.0.2.1:5060", "UDP:192.0.2.1:5060"]
    assert hops("sip:192.0.2.1;transport=udp", large=True) == ["TCP:192.0.2.1:5060", "UDP:192.0.2.1:5060"]
    assert hops("sip:192.0.2.1", supported=("UDP",), large=True) == ["UDP:192.0.2.1:5060"]
    assert hops("sip:224.0.1.75", large=True) == ["UDP:224.0.1.75:5060"]


def test_large_request_uses_the_reliable_transport_that_dns_offers() -> None:
    zone = {
        ("_sip._udp.example.com", "SRV"): (Srv(0, 0, 5060, "192.0.2.1"),),
        ("_sip._tcp.example.com", "SRV"): (Srv(0, 0, 5070, "192.0.2.1"),),
    }
    assert hops("sip:example.com", zone, ("UDP", "TCP"), large=True) == [
        "TCP:192.0.2.1:5070", "TCP:192.0.2.1:5060", "UDP:192.0.2.1:5060",
    ]  # fmt: skip


# -- responses (§5) --------------------------------------------------------------------------------------------------


def via(text: str) -> Via:
    return parse_via(text)


def respond(text: str, zone: Zone | None = None) -> list[str]:
    locator = Locator(response_targets(via(text)), ALL)
    run(locator, zone or {})
    return [str(hop) for hop in locator.hops]


def test_response_to_a_numeric_sent_by() -> None:
    assert respond("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx") == ["UDP:192.0.2.1:5060"]
    assert respond("SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bKx") == ["UDP:192.0.2.1:5070"]
    assert respond("SIP/2.0/TLS 192.0.2.1;branch=z9hG4bKx") == ["TLS:192.0.2.1:5061"]


def test_response_to_a_name_with_port_asks_for_addresses() -> None:
    assert respond("SIP/2.0/TCP example.com:5070;branch=z9hG4bKx", EXAMPLE) == ["TCP:192.0.2.9:5070"]


def test_response_to_a_name_without_port_asks_for_srv() -> None:
    assert respond("SIP/2.0/UDP example.com;branch=z9hG4bKx", EXAMPLE) == ["UDP:192.0.2.1:5060"]
    assert respond("SIP/2.0/TLS example.com;branch=z9hG4bKx", EXAMPLE) == ["TLS:192.0.2.1:5061"]
    locator = Locator(response_targets(via("SIP/2.0/tls example.com;branch=z9hG4bKx")), ALL)
    assert locator.take_questions() == [Question("_sips._tcp.example.com", "SRV")]


def test_response_on_a_lost_connection_tries_the_received_address_first() -> None:
    # RFC 3261 §18.2.2
    text = "SIP/2.0/TCP example.com:5070;branch=z9hG4bKx;received=198.51.100.7"
    assert respond(text, EXAMPLE) == ["TCP:198.51.100.7:5070", "TCP:192.0.2.9:5070"]
    assert respond("SIP/2.0/TLS 192.0.2.1;branch=z9hG4bKx;received=198.51.100.7") == [
        "TLS:198.51.100.7:5061", "TLS:192.0.2.1:5061",
    ]  # fmt: skip
    assert respond("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx;received=198.51.100.7") == ["UDP:192.0.2.1:5060"]


def test_websocket_client_takes_no_connection() -> None:
    locator = Locator(response_targets(via("SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bKx")), ALL)
    assert locator.done
    assert locator.hops == ()
    assert "its own connection only" in locator.reason


# -- several targets, bounds, failures -------------------------------------------------------------------------------


def test_targets_in_their_order_and_no_hop_twice() -> None:
    targets = [Target("example.com", 5060), Target("192.0.2.5", name="example.com"), Target("example.com", 5060, "UDP")]
    locator = Locator(targets, ALL)
    run(locator, EXAMPLE)
    assert [str(hop) for hop in locator.hops] == ["UDP:192.0.2.9:5060", "UDP:192.0.2.5:5060"]


def test_alias_is_followed() -> None:
    zone = {
        ("www.example.com", "A"): (Alias("www.example.com", "host.example.com"),),
        ("www.example.com", "AAAA"): (
            Alias("www.example.com", "a.example.com"),
            Alias("a.example.com", "host.example.com"),
            Address("host.example.com", "2001:db8::1"),
        ),
        ("host.example.com", "A"): a("192.0.2.1"),
    }
    assert hops("sip:www.example.com:5060", zone) == ["UDP:[2001:db8::1]:5060", "UDP:192.0.2.1:5060"]


def test_alias_loop_ends() -> None:
    loop: Zone = {
        ("a.example", "A"): (Alias("a.example", "b.example"),),
        ("b.example", "A"): (Alias("b.example", "a.example"),),
        ("s.example", "A"): (Alias("s.example", "s.example"),),
    }
    policy = LocatingPolicy(families=("A",))
    assert "alias" in locate("sip:a.example:5060", loop, policy=policy).reason
    assert locate("sip:s.example:5060", loop, policy=policy).reason == "no address (A) for s.example"


def test_failed_question_counts_as_no_record_and_is_told() -> None:
    zone = {
        ("example.com", "NAPTR"): LookupFailed("SERVFAIL"),
        ("_sip._udp.example.com", "SRV"): LookupFailed("timed out"),
        ("example.com", "A"): a("192.0.2.9"),
    }
    locator = locate("sip:example.com", zone, ("UDP",))
    assert [str(hop) for hop in locator.hops] == ["UDP:192.0.2.9:5060"]
    assert locator.reason == "NAPTR of example.com: SERVFAIL; SRV of _sip._udp.example.com: timed out"


def test_questions_are_bounded() -> None:
    zone: Zone = {("_sip._udp.example.com", "SRV"): tuple(Srv(0, n, 5060, f"h{n}.example.com") for n in range(1000))}
    policy = LocatingPolicy(max_questions=10, max_hops=1000)
    locator = Locator(parse_uri("sip:example.com;transport=udp"), ALL, policy=policy)
    assert len(run(locator, zone)) == 10
    assert locator.done
    assert "more than 10 DNS questions: gave up" in locator.reason


def test_hops_are_bounded() -> None:
    zone: Zone = {("h.example", "A"): tuple(f"192.0.2.{n}" for n in range(1, 200))}
    assert len(locate("sip:h.example:5060", zone).hops) == 16
    zone = {("_sip._udp.example.com", "SRV"): tuple(Srv(0, 0, port, "192.0.2.1") for port in range(1, 200))}
    assert len(locate("sip:example.com;transport=udp", zone).hops) == 16


def test_srv_record_may_name_what_is_no_domain_name() -> None:
    zone: Zone = {
        ("_sip._udp.example.com", "SRV"): (
            Srv(0, 0, 5060, "a..example.com"),
            Srv(0, 0, 5060, "x" * 64 + ".example.com"),
            Srv(0, 0, 5060, "y." * 130),
            Srv(0, 0, 5060, "b\u00fccher.example"),
        ),
    }
    locator = Locator(parse_uri("sip:example.com;transport=udp"), ALL)
    assert run(locator, zone) == [Question("_sip._udp.example.com", "SRV")]
    assert locator.hops == ()
    assert "'a..example.com' is not a domain name" in locator.reason


def test_answer_to_no_question_is_a_mistake_of_the_caller() -> None:
    locator = Locator(parse_uri("sip:example.com:5060"), ALL)
    question = locator.take_questions()[0]
    locator.answer(question, [], 1.0)
    with pytest.raises(LocalProtocolError, match=r"nobody asked for AAAA of example\.com"):
        locator.answer(question, [], 1.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:DB8:0::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("example.com", None),
        ("192.0.2.256", None),
        ("host1", None),
        ("", None),
        ("::ffff", "::ffff"),
    ],
)
def test_canonical_address(text: str, expected: str | None) -> None:
    assert canonical_address(text) == expected


NAMES = st.sampled_from(["example.com", "a.example.com", "b.example.com", "_sip._udp.example.com", ".", "192.0.2.9"])
RECORDS = st.one_of(
    st.builds(
        Naptr,
        st.integers(0, 2),
        st.integers(0, 2),
        st.sampled_from(["s", "a", "u", ""]),
        st.sampled_from(["SIP+D2U", "SIP+D2T", "SIPS+D2T", "SIPS+D2W", "x"]),
        st.just(""),
        NAMES,
    ),
    st.builds(Srv, st.integers(0, 2), st.integers(0, 3), st.integers(0, 3), NAMES),
    st.builds(Address, NAMES, st.sampled_from(["192.0.2.1", "2001:db8::1", "junk"])),
    st.builds(Alias, NAMES, NAMES),
    st.sampled_from(["192.0.2.2", "2001:db8::2"]),
)


@given(st.data(), st.booleans(), st.booleans(), st.integers())
def test_any_answers_lead_to_an_end_with_hops_or_a_reason(
    data: st.DataObject, secure: bool, large: bool, seed: int
) -> None:
    uri = SipUri("sips" if secure else "sip", "u", None, "example.com")
    locator = Locator(uri, ("UDP", "TCP", "TLS"), Seeded(seed), large=large)
    asked = 0
    while not locator.done:
        questions = locator.take_questions()
        assert questions
        for question in data.draw(st.permutations(questions)):
            asked += 1
            failure = st.just(LookupFailed("SERVFAIL"))
            locator.answer(question, data.draw(st.one_of(st.lists(RECORDS, max_size=4), failure)), float(asked))
    assert asked <= 48
    assert len(locator.hops) <= 16
    assert len(set(locator.hops)) == len(locator.hops)
    assert locator.hops or locator.reason
    for hop in locator.hops:
        assert canonical_address(hop.host) == hop.host
        assert 0 < hop.port < 65536
        assert hop.name == "example.com"
        assert not secure or hop.transport == "TLS"
