"""TLS without cryptography: two ends show each other who they are, and each checks the other.

A `TlsContext` stands where an `ssl.SSLContext` stands on real sockets, in `create_connection` and `create_server`.
The errors are those of `ssl`, and what a transport tells of its peer has the form that `ssl` gives it.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, Final, NamedTuple

from .clock import EPOCH
from .errors import LabError

LAB_CA: Final = "Switchroom Lab CA"
"""The authority that issues certificates unless they name another; clients trust it unless told otherwise."""

_YEAR: Final = 365 * 86400.0
_VERIFY_FAILED: Final = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: "


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a peer shows of itself.

    *names* are the subject's alternative names: a DNS name (`*.example.com` too), an IP address, or a URI
    (`sip:example.com`, RFC 5922 §7.1).  Times are wall-clock seconds.
    """

    names: tuple[str, ...] = ()
    common_name: str = ""
    not_before: float = EPOCH - _YEAR
    not_after: float = EPOCH + _YEAR
    issuer: str = LAB_CA

    def as_dict(self) -> dict[str, Any]:
        """As `ssl.SSLSocket.getpeercert()` returns it."""
        found: dict[str, Any] = {
            "subject": ((("commonName", self.common_name),),) if self.common_name else (),
            "issuer": ((("commonName", self.issuer),),),
            "version": 3,
            "serialNumber": "01",
            "notBefore": _asn1_time(self.not_before),
            "notAfter": _asn1_time(self.not_after),
        }
        if self.names:
            found["subjectAltName"] = tuple((_kind(name), name) for name in self.names)
        return found

    def matches(self, host: str) -> bool:
        """Whether this is a certificate of *host*: a DNS name or an address (RFC 6125 §6.4)."""
        wanted = host.lower()
        for name in self.names:
            lower = name.lower()
            if lower == wanted or (lower.startswith("*.") and lower[1:] == wanted[wanted.find(".") :]):
                return True
        return False


class TlsContext:
    """Stands for an `ssl.SSLContext`: what one side shows, whom it trusts and what it checks.

    *certificates*: the one that matches the name that the client asked for is shown, else the first.  *trusts*: the
    issuers it believes.  *verify_mode*: `ssl.CERT_REQUIRED` (default), `ssl.CERT_OPTIONAL` or `ssl.CERT_NONE`, of
    which a server that does not ask its clients for certificates uses the last.
    """

    def __init__(
        self,
        *certificates: Certificate,
        trusts: Iterable[str] = (LAB_CA,),
        verify_mode: ssl.VerifyMode = ssl.CERT_REQUIRED,
        check_hostname: bool = False,
    ) -> None:
        self.certificates = certificates
        self.trusts = frozenset(trusts)
        self.verify_mode = verify_mode
        self.check_hostname = check_hostname

    def choose(self, server_name: str) -> Certificate | None:
        """The certificate to show to a client that asked for *server_name*."""
        for certificate in self.certificates:
            if server_name and certificate.matches(server_name):
                return certificate
        return self.certificates[0] if self.certificates else None

    def verify(self, certificate: Certificate | None, wall: float, server_name: str = "") -> None:
        """Check what the peer showed; raises `ssl.SSLError` with the words of OpenSSL."""
        if self.verify_mode == ssl.CERT_NONE:
            return
        if certificate is None:
            if self.verify_mode == ssl.CERT_REQUIRED:
                raise ssl.SSLError(1, "[SSL: PEER_DID_NOT_RETURN_A_CERTIFICATE] peer did not return a certificate")
            return
        if certificate.issuer not in self.trusts:
            raise _failure(20, "unable to get local issuer certificate")
        if wall < certificate.not_before:
            raise _failure(9, "certificate is not yet valid")
        if wall > certificate.not_after:
            raise _failure(10, "certificate has expired")
        if self.check_hostname and server_name and not certificate.matches(server_name):
            raise _failure(62, f"Hostname mismatch, certificate is not valid for '{server_name}'.")


class Hello(NamedTuple):
    """One flight of the handshake."""

    certificate: Certificate | None
    server_name: str = ""
    alert: str = ""
    """Why the sender gives up; the handshake has failed then."""


class TlsInfo:
    """What `get_extra_info("ssl_object")` returns: the part of `ssl.SSLObject` that tells of the peer."""

    def __init__(self, context: TlsContext, peer: Certificate | None, server_side: bool, server_name: str) -> None:
        self.context = context
        self.server_side = server_side
        self.server_hostname = None if server_side else server_name
        self.server_name = server_name
        """The name that the client asked for, at either end."""
        self.certificate = peer

    def getpeercert(self, binary_form: bool = False) -> Any:
        """The peer's certificate: a dict, empty if it was not verified; None if the peer showed none."""
        if binary_form:
            raise LabError("certificates of the lab have no binary form; check the names in getpeercert()")
        if self.certificate is None:
            return None
        return {} if self.context.verify_mode == ssl.CERT_NONE else self.certificate.as_dict()

    def version(self) -> str:
        """As if by the newest TLS."""
        return "TLSv1.3"

    def cipher(self) -> tuple[str, str, int]:
        """Nothing is encrypted; the name says so."""
        return ("LAB_PLAINTEXT", "TLSv1.3", 0)

    def selected_alpn_protocol(self) -> None:
        """Nothing is negotiated."""

    def compression(self) -> None:
        """There is none."""


def context_of(given: object) -> TlsContext | None:
    """The context in an `ssl=` argument; `LabError` for one that the lab cannot use."""
    if given is None or given is False:
        return None
    if given is True:
        return TlsContext(check_hostname=True)
    if isinstance(given, TlsContext):
        return given
    raise LabError(
        f"ssl= is {type(given).__name__}: there is no cryptography in the lab; "
        f"give a switchroom.lab.TlsContext, which says whom a side is and whom it trusts"
    )


def _failure(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, _VERIFY_FAILED + message)
    error.verify_code = code
    error.verify_message = message
    return error


def _kind(name: str) -> str:
    if ":" in name and not name.replace(":", "").isalnum():
        return "URI"
    try:
        ip_address(name)
    except ValueError:
        return "URI" if ":" in name else "DNS"
    return "IP Address"


def _asn1_time(seconds: float) -> str:
    when = datetime.fromtimestamp(int(seconds), UTC)
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[when.month - 1]
    return f"{month} {when.day:2d} {when:%H:%M:%S %Y} GMT"
