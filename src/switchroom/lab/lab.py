"""The lab: one network, one clock, one loop and one seed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any, Final, TypeVar

from ..net.endpoint import Endpoint
from ..net.tls import GivenContexts
from .clock import Clock
from .dns import Zones
from .errors import LabError
from .host import Host
from .identifiers import SeededIdentifiers
from .ladder import ladder_svg, ladder_text
from .link import INTERNET, Link
from .loop import VirtualTimeLoop
from .network import MemoryNetwork
from .record import Note, Trace
from .tls import Certificate, TlsContext

_T = TypeVar("_T")

TIME_LIMIT: Final = 7 * 86400.0
"""A run that is not over after a week of virtual time never will be."""


class Lab:
    """Everything that a test of a call flow needs; all that is random in it comes from *seed*.

        with Lab(seed=7) as lab:
            lab.network.link = Link(loss=0.1)
            lab.run(main(lab))
        print(lab.ladder())

    *debug* turns on asyncio's debug mode; None leaves that to the environment (PYTHONASYNCIODEBUG).
    """

    def __init__(
        self,
        seed: int | str = 0,
        *,
        link: Link = INTERNET,
        debug: bool | None = None,
        time_limit: float = TIME_LIMIT,
    ) -> None:
        self.seed = seed
        self.clock = Clock()
        self.network = MemoryNetwork(seed, link=link)
        self.identifiers = SeededIdentifiers(seed)
        """For what the test itself makes up; every endpoint has a source of its own."""
        self.loop = VirtualTimeLoop(self.network, clock=self.clock, time_limit=time_limit)
        self._runner = asyncio.Runner(loop_factory=lambda: self.loop, debug=debug)
        self._unhandled: list[dict[str, Any]] = []
        self._endpoints: dict[str, int] = {}
        self.loop.set_exception_handler(self._note_unhandled)

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what still runs, and close the loop.  The trace stays."""
        self._runner.close()
        if not self.loop.is_closed():
            self.loop.close()

    @property
    def trace(self) -> Trace:
        """What travelled, so far."""
        return self.network.trace

    @property
    def dns(self) -> Zones:
        """The zones of the network."""
        return self.network.dns

    def time(self) -> float:
        """Virtual seconds since the start of the run."""
        return self.clock.time()

    def wall(self) -> float:
        """The lab's wall clock, in seconds since 1970."""
        return self.clock.wall()

    def host(self, name: str, *addresses: str) -> Host:
        """Make a host on the internet; see `MemoryNetwork.host`."""
        return self.network.host(name, *addresses)

    def endpoint(
        self,
        where: Host | str,
        transports: Sequence[str] = ("udp", "tcp"),
        *,
        name: str = "",
        certificate: Certificate | None = None,
        **options: Any,
    ) -> Endpoint:
        """Make a `net.Endpoint` on a host, with the lab's resolver and clocks and with seeded identifiers.

        *where* is a host, or an address, to which a host of that *name* is made if nobody has it yet.  *transports* are
        listened on at all its addresses: "udp", or with a port "udp:5062".  With a *certificate*, "tls" and "wss" are
        possible, and the same certificate is shown to servers that ask for one; other needs go into `tls=`.  *options*
        are those of `Endpoint`.

        Two hosts behind different NAT boxes may have the same private address: start the endpoint, and use it, inside
        `with host:` then.
        """
        host = self._host_at(where, name) if isinstance(where, str) else where
        number = self._endpoints[host.name] = self._endpoints.get(host.name, 0) + 1
        listen = []
        for transport in transports:
            word, _, port = transport.partition(":")
            for address in host.addresses:
                shown = f"[{address}]" if ":" in address else address
                listen.append(f"{word}:{shown}:{port}" if port else f"{word}:{shown}")
        options.setdefault("resolver", self.dns)
        options.setdefault("wall", self.wall)
        options.setdefault("identifiers", SeededIdentifiers(f"{self.seed}/{host.name}/{number}"))
        if "tls" not in options:
            shown_by_us = () if certificate is None else (certificate,)
            server = TlsContext(*shown_by_us, verify_mode=ssl.CERT_NONE) if shown_by_us else None
            options["tls"] = GivenContexts(TlsContext(*shown_by_us), server)
        return Endpoint(listen, **options)

    def _host_at(self, address: str, name: str) -> Host:
        for host in self.network.hosts.values():
            if host.owns(address) and host.addresses:
                return host
        return self.network.host(name or address, address)

    def note(self, text: str) -> None:
        """Put a remark into the trace."""
        self.trace.notes.append(Note(self.time(), text))

    def run(self, main: Coroutine[Any, Any, _T]) -> _T:
        """Run *main* in virtual time and return its result; may be called again, time goes on.

        Raises what *main* raises, `DeadlockError`, `TimeLimitError`, and, when *main* ended well but some callback or
        task did not, an ExceptionGroup of what these raised: in a test nothing may fail unseen.
        """
        self._unhandled.clear()
        result = self._runner.run(main)
        self.check()
        return result

    def check(self) -> None:
        """Raise what callbacks and forgotten tasks have raised so far."""
        if self._unhandled:
            errors = [_as_error(context) for context in self._unhandled]
            self._unhandled.clear()
            raise ExceptionGroup("code on the lab's loop failed", errors)

    def _note_unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._unhandled.append(context)

    # -- what happened ------------------------------------------------------------------------------------------

    def ladder(self, *, width: int = 100, ascii_only: bool = False) -> str:
        """The run so far, as text."""
        return ladder_text(self.network, width=width, ascii_only=ascii_only)

    def ladder_svg(self) -> str:
        """The run so far, as SVG."""
        return ladder_svg(self.network, title=f"seed {self.seed}")


def _as_error(context: dict[str, Any]) -> Exception:
    error = context.get("exception")
    if isinstance(error, Exception):
        error.add_note(str(context.get("message")))
        return error
    return LabError(str(context.get("message")))
