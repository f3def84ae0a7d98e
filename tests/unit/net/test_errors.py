"""Each error of the system says what to do about it."""

from __future__ import annotations

import errno
import os
import ssl

import pytest

from switchroom.net.errors import transport_error
from switchroom.sip.errors import TransportError


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def verify_error(code: int, message: str = "strange") -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    error.verify_message = message
    return error


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "wrong")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (os_error(errno.EADDRINUSE), "choose another port"),
        (os_error(errno.EACCES), "need root or CAP_NET_BIND_SERVICE"),
        (os_error(errno.EADDRNOTAVAIL), "this machine has no such address"),
        (os_error(errno.ECONNREFUSED), "nothing listens on that port there"),
        (os_error(errno.EMSGSIZE), "send it over TCP or TLS"),
        (os_error(errno.EMFILE), "ulimit -n"),
        (os_error(errno.EBADMSG), "bad message"),
        (OSError("Multiple exceptions: ..."), "multiple exceptions: ..."),
        (TimeoutError(), "no answer in time"),
        (verify_error(10), "has expired"),
        (verify_error(9), "check the clocks"),
        (verify_error(18), "self-signed"),
        (verify_error(20), "issuer of the peer's certificate is not trusted"),
        (verify_error(77), "the peer's certificate is refused: strange"),
        (tls_error("WRONG_VERSION_NUMBER"), "does not speak TLS on that port"),
        (tls_error("TLSV1_ALERT_UNKNOWN_CA"), "does not trust our certificate"),
        (tls_error("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "wants a certificate of ours"),
        (tls_error("SOMETHING_NEW"), "TLS failed: something new"),
        (ValueError("server_hostname cannot be that"), "server_hostname cannot be that"),
        (ValueError(), "ValueError"),
    ],
)
def test_reason_and_remedy(error: BaseException, text: str) -> None:
    mapped = transport_error(error, "cannot listen on udp:0.0.0.0:5060")
    assert isinstance(mapped, TransportError)
    assert str(mapped).startswith("cannot listen on udp:0.0.0.0:5060: ")
    assert text in str(mapped)


def test_an_error_of_ours_stays_as_it_is() -> None:
    error = TransportError("ours")
    assert transport_error(error, "anything") is error
