"""TLS: contexts, server name indication, reload of certificates, and the identities of RFC 5922."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from ..sip.errors import TransportError
from ..sip.locating import canonical_address
from .errors import transport_error

Path = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its chain and its private key, in PEM files (both may be in one)."""

    chain: Path
    private_key: Path | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """What an endpoint shows to its TLS peers and asks of them.

    The files are read at the start and again by `Endpoint.reload_certificates`.
    """

    certificate: Certificate | None = None
    """Shown to clients, and to servers that ask for one; without it no tls or wss listener can be opened."""
    names: Mapping[str, Certificate] = field(default_factory=dict)
    """Other certificates, by the server name that the client asks for (SNI, RFC 6066 §3)."""
    trusted: Path | None = None
    """A PEM file or a folder of trusted issuers; None means those of the system."""
    verify_servers: bool = True
    """Whether a server must show a trusted certificate for the domain that we want (RFC 5922 §7.3)."""
    clients: Literal["ignore", "ask", "require"] = "ignore"
    """Whether clients that connect to us are asked for a certificate; one that is not trusted is then refused."""


class TlsSource(Protocol):
    """Where an endpoint gets its TLS contexts: made of files, ready-made, or the lab's.

    The contexts go into `ssl=` of the event loop's `create_connection` and `create_server`.
    """

    @property
    def client(self) -> Any:
        """For connections that we open.  Its identity check is ours, not OpenSSL's: see `check_identity`."""
        ...

    @property
    def server(self) -> Any:
        """For connections that clients open; None when there is no certificate to show."""
        ...

    def reload(self) -> None:
        """Read the certificates again; connections that exist keep theirs."""
        ...


@dataclass(slots=True)
class GivenContexts:
    """Contexts made elsewhere (`ssl.SSLContext`, or `lab.TlsContext`); to reload them, assign new ones."""

    client: Any
    server: Any = None

    def reload(self) -> None:
        """Nothing to do: whoever made them renews them."""


class TlsContexts:
    """The contexts made of `TlsSettings`.  `reload` replaces them; connections that exist keep theirs."""

    __slots__ = ("_client", "_server", "settings")

    def __init__(self, settings: TlsSettings) -> None:
        """Raises TransportError when a file cannot be used."""
        self.settings: Final = settings
        self._client: ssl.SSLContext | None = None
        self._server: ssl.SSLContext | None = None
        if settings != TlsSettings():
            self.reload()

    @property
    def client(self) -> ssl.SSLContext:
        """For connections that we open.  Its identity check is ours, not OpenSSL's: see `check_identity`."""
        if self._client is None:  # reading the system's certificates takes a tenth of a second: not for nothing
            self._client = self._client_context()
        return self._client

    @property
    def server(self) -> ssl.SSLContext | None:
        """For connections that clients open; None when there is no certificate to show."""
        return self._server

    def reload(self) -> None:
        """Read the files again; raises TransportError, and keeps what there was, when one cannot be used."""
        client, server = self._client_context(), self._server_context()
        self._client, self._server = client, server

    def _client_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = False  # OpenSSL knows neither SIP URIs nor the ban on wildcards (RFC 5922 §7.2)
        if self.settings.verify_servers:
            context.verify_mode = ssl.CERT_REQUIRED
            self._load_trusted(context)
        else:
            context.verify_mode = ssl.CERT_NONE
        if self.settings.certificate is not None:
            _load(context, self.settings.certificate)
        return context

    def _server_context(self) -> ssl.SSLContext | None:
        if self.settings.certificate is None:
            return None
        default = self._context_for(self.settings.certificate)
        by_name = {name.lower().rstrip("."): self._context_for(each) for name, each in self.settings.names.items()}
        if by_name:

            def choose(connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
                chosen = by_name.get((name or "").lower().rstrip("."))
                if chosen is not None:
                    connection.context = chosen

            default.sni_callback = choose
        return default

    def _context_for(self, certificate: Certificate) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION  # a client must not make us compute again and again
        if self.settings.clients != "ignore":
            context.verify_mode = ssl.CERT_REQUIRED if self.settings.clients == "require" else ssl.CERT_OPTIONAL
            self._load_trusted(context)
        _load(context, certificate)
        return context

    def _load_trusted(self, context: ssl.SSLContext) -> None:
        trusted = self.settings.trusted
        if trusted is None:
            purpose = ssl.Purpose.SERVER_AUTH
            context.load_default_certs(purpose)
            return
        try:
            if os.path.isdir(trusted):
                context.load_verify_locations(capath=trusted)
            else:
                context.load_verify_locations(cafile=trusted)
        except OSError as error:
            raise transport_error(error, f"cannot use the trusted certificates in {os.fspath(trusted)}") from error


def _load(context: ssl.SSLContext, certificate: Certificate) -> None:
    # A password that is never asked for on the terminal: an empty one fails like a wrong one.
    password = certificate.password or ""
    try:
        context.load_cert_chain(certificate.chain, certificate.private_key, lambda: password)
    except OSError as error:
        files = os.fspath(certificate.chain)
        if certificate.private_key is not None:
            files += f" with the key in {os.fspath(certificate.private_key)}"
        raise transport_error(error, f"cannot use the certificate in {files}") from error


# -- identities ------------------------------------------------------------------------------------------------------


def peer_identities(certificate: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The SIP domains that a verified certificate stands for (RFC 5922 §7.1), in lower case.

    *certificate* is what `ssl.SSLSocket.getpeercert` returns.  The hosts of its `sip:` URIs without a user part come
    first, then its DNS names, then IP addresses; the common name counts only where there is no subjectAltName.
    """
    if not certificate:
        return ()
    alternatives = certificate.get("subjectAltName", ())
    identities: list[str] = []
    for kind, value in alternatives:
        if kind == "URI":
            scheme, _, rest = value.partition(":")
            host = rest.partition(";")[0].partition("?")[0]
            if scheme.lower() == "sip" and host and "@" not in host:
                identities.append(_normal(host))
    identities += [_normal(value) for kind, value in alternatives if kind == "DNS"]
    identities += [_normal(value) for kind, value in alternatives if kind == "IP Address"]
    if not alternatives:
        for attribute in certificate.get("subject", ()):
            identities += [_normal(value) for kind, value in attribute if kind == "commonName"]
    return tuple(dict.fromkeys(identities))


def is_identity(domain: str, identities: tuple[str, ...]) -> bool:
    """Whether *domain* is among *identities*: equal but for case, wildcards match nothing (RFC 5922 §7.2)."""
    return _normal(domain) in identities


def check_identity(domain: str, identities: tuple[str, ...]) -> None:
    """Raise TransportError unless the peer's certificate stands for *domain* (RFC 5922 §7.3)."""
    if is_identity(domain, identities):
        return
    names = ", ".join(identities) or "no SIP domain at all"
    hint = ""
    if any(each.startswith("*.") for each in identities):
        hint = " (SIP knows no wildcards, RFC 5922 §7.2)"
    raise TransportError(
        f"the peer's certificate stands for {names}, not for {domain}{hint}: it needs {domain} in its subjectAltName, "
        "or the request must go to a domain that it has"
    )


def _normal(domain: str) -> str:
    return canonical_address(domain) or domain.lower().rstrip(".")
