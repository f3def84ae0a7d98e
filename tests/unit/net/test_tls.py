"""The identities of a certificate (RFC 5922 §7)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from switchroom.net.tls import (
    Certificate,
    GivenContexts,
    TlsContexts,
    TlsSettings,
    check_identity,
    is_identity,
    peer_identities,
)
from switchroom.sip.errors import TransportError

SUBJECT = ((("commonName", "Common.Example.COM"),),)


@pytest.mark.parametrize(
    ("alternatives", "identities"),
    [
        ((("DNS", "b.test"), ("URI", "sip:a.test")), ("a.test", "b.test")),
        ((("URI", "sip:user@a.test"),), ()),  # a user, not a domain
        ((("URI", "sips:a.test"), ("URI", "https://a.test")), ()),  # §7.1: the scheme is sip
        ((("URI", "SIP:A.test;transport=tls"),), ("a.test",)),
        ((("DNS", "A.Test."), ("DNS", "a.test")), ("a.test",)),
        ((("IP Address", "2001:DB8:0:0:0:0:0:1"),), ("2001:db8::1",)),
        ((("email", "a@a.test"),), ()),
    ],
)
def test_alternative_names(alternatives: tuple[Any, ...], identities: tuple[str, ...]) -> None:
    assert peer_identities({"subject": SUBJECT, "subjectAltName": alternatives}) == identities


def test_the_common_name_counts_only_without_alternative_names() -> None:
    assert peer_identities({"subject": SUBJECT}) == ("common.example.com",)
    assert peer_identities({}) == peer_identities(None) == ()


def test_identities_are_compared_whole_and_without_case() -> None:
    """§7.2: no wildcards, no sub-domains."""
    names = ("example.com", "*.example.org", "192.0.2.1")
    assert is_identity("Example.COM.", names)
    assert is_identity("192.0.2.1", names)
    for other in ("sub.example.com", "com", "a.example.org", "192.0.2.10"):
        assert not is_identity(other, names)
    check_identity("example.com", names)
    with pytest.raises(TransportError, match=r"not for a\.example\.org \(SIP knows no wildcards"):
        check_identity("a.example.org", names)
    with pytest.raises(TransportError, match="no SIP domain at all"):
        check_identity("example.com", ())


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    with pytest.raises(TransportError, match=r"missing\.pem.*no such file"):
        TlsContexts(TlsSettings(certificate=Certificate(missing)))
    with pytest.raises(TransportError, match=r"trusted certificates in .*missing\.pem"):
        TlsContexts(TlsSettings(trusted=missing))
    empty = tmp_path / "empty.pem"
    empty.touch()
    with pytest.raises(TransportError, match=r"empty\.pem"):
        TlsContexts(TlsSettings(trusted=empty))
    TlsContexts(TlsSettings(trusted=tmp_path))  # a folder of certificates may be empty for now


def test_without_a_certificate_there_is_a_client_only() -> None:
    contexts = TlsContexts(TlsSettings())
    assert contexts.server is None
    assert not contexts.client.check_hostname
    given = GivenContexts(client="client")
    given.reload()
    assert given.server is None
