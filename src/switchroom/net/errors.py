"""What the operating system and TLS report, as `TransportError` with a text that says what to do.

The only place where `OSError` and `ssl.SSLError` become errors of ours.
"""

from __future__ import annotations

import errno
import ssl
from typing import Final

from ..sip.errors import TransportError

_OS_REASONS: Final[dict[int, str]] = {
    errno.EADDRINUSE: "the port is in use by another program: stop that program or choose another port",
    errno.EADDRNOTAVAIL: "this machine has no such address: choose one of its own, or 0.0.0.0 or [::] for all",
    errno.EACCES: "not permitted: ports below 1024 need root or CAP_NET_BIND_SERVICE, and a firewall may forbid it",
    errno.EPERM: "not permitted: a firewall on this machine forbids it",
    errno.EAFNOSUPPORT: "this machine has no support for that address family (IPv6 switched off?)",
    errno.ECONNREFUSED: "refused: nothing listens on that port there",
    errno.ECONNRESET: "the peer reset the connection",
    errno.ECONNABORTED: "the connection was aborted",
    errno.EPIPE: "the peer has closed the connection",
    errno.ETIMEDOUT: "the peer did not answer in time",
    errno.EHOSTUNREACH: "no route to that host: check the address and the network",
    errno.ENETUNREACH: "no route to that network: check the address, the gateway, and whether IPv6 is available",
    errno.EMSGSIZE: "too large for one datagram: send it over TCP or TLS",
    errno.EMFILE: "too many open files: raise the limit of open files (ulimit -n)",
    errno.ENFILE: "the system has too many open files",
    errno.ENOBUFS: "the system has no buffer left",
    errno.ENOENT: "no such file",
    errno.EISDIR: "is a folder, not a file",
}

# X509_V_ERR_* of OpenSSL, as `ssl.SSLCertVerificationError.verify_code`.
_VERIFY_REASONS: Final[dict[int, str]] = {
    9: "the peer's certificate is not valid yet: check the clocks of both sides",
    10: "the peer's certificate has expired: it must be renewed",
    18: "the peer's certificate is self-signed and not trusted: add it to the trusted certificates",
    19: "the peer's certificate chain ends in a root that is not trusted: add that root to the trusted certificates",
    20: "the issuer of the peer's certificate is not trusted: add it to the trusted certificates, or have the peer "
    "send its intermediate certificates",
    21: "the peer's certificate cannot be verified: it must send its intermediate certificates",
    23: "the peer's certificate has been revoked",
    26: "the peer's certificate was not issued for this purpose (extended key usage)",
}

_TLS_REASONS: Final[dict[str, str]] = {
    "WRONG_VERSION_NUMBER": "the peer does not speak TLS on that port: check port and transport",
    "HTTP_REQUEST": "the peer speaks plain HTTP on a TLS port",
    "UNSUPPORTED_PROTOCOL": "the peer offers only TLS versions before 1.2",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the peer refuses TLS 1.2 and later",
    "NO_SHARED_CIPHER": "no cipher in common: is a certificate configured on the accepting side?",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the peer refused the handshake: no cipher in common, or it wants a certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "the peer does not trust our certificate: it must trust its issuer",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the peer refused our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "our certificate has expired: renew it",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the peer refused our certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the peer wants a certificate of ours: configure one",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer sent no certificate, and one is required",
    "KEY_VALUES_MISMATCH": "certificate and private key do not belong together",
    "NO_START_LINE": "is not in PEM form",
    "PEM_LIB": "is not a certificate or key in PEM form",
    "BAD_DECRYPT": "wrong password for the private key",
    "NO_CERTIFICATE_OR_CRL_FOUND": "holds no certificate",
}


def transport_error(error: BaseException, action: str) -> TransportError:
    """*error* as a `TransportError` "*action*: reason and remedy"; one that is ours already stays as it is."""
    if isinstance(error, TransportError):
        return error
    return TransportError(f"{action}: {_reason(error)}")


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        known = _VERIFY_REASONS.get(error.verify_code)
        return known or f"the peer's certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        return _TLS_REASONS.get(reason) or f"TLS failed: {reason.replace('_', ' ').lower() or error}"
    if isinstance(error, TimeoutError):  # before OSError, which it is too
        return "no answer in time"
    if isinstance(error, OSError):
        if error.errno in _OS_REASONS:
            return _OS_REASONS[error.errno]
        return (error.strerror or str(error) or type(error).__name__).lower()
    return str(error) or type(error).__name__
