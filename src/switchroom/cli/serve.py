"""`switchroom serve`: run the exchange.

A first form: it listens, answers OPTIONS, and shows every message; the registrar and the proxy are still to come.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Annotated

import typer

from ..net import Endpoint, IncomingRequest, TapRecord, run
from ..sip.errors import SipError

DEFAULT_LISTEN = ["udp:0.0.0.0:5060", "tcp:0.0.0.0:5060"]


def serve(
    listen: Annotated[
        list[str] | None,
        typer.Option(help="transport:address:port to listen on; repeat it for more. Default: udp and tcp, port 5060."),
    ] = None,
    trace: Annotated[bool, typer.Option(help="Print every message that is received or sent.")] = True,
) -> None:
    """Listen, answer OPTIONS, and show the traffic, until Ctrl-C or SIGTERM."""
    try:
        run(_serve(listen or DEFAULT_LISTEN, trace))
    except SipError as error:
        typer.echo(f"switchroom: {error}", err=True)
        raise typer.Exit(1) from None


async def _serve(listen: list[str], trace: bool) -> None:
    endpoint = Endpoint(listen)

    @endpoint.on("OPTIONS")
    def options(request: IncomingRequest) -> None:
        request.respond(200, headers=[("Allow", "OPTIONS"), ("Accept", "application/sdp")])

    if trace:
        endpoint.tap.subscribe(show)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with endpoint:
        for listener in endpoint.listeners:
            typer.echo(f"listening on {listener}")
        typer.echo("answering OPTIONS; the registrar and the proxy are not in this version yet; Ctrl-C ends it")
        await stop.wait()
        typer.echo("closing")


def show(record: TapRecord) -> None:
    """Print a message under the line that administrators know it by."""
    text = record.data.decode("utf-8", "backslashreplace")
    if not text.strip():
        return  # a keep-alive
    received = record.direction == "in"
    kind = "response" if text.startswith("SIP/") else "request"
    host, port = record.flow.remote
    remote = f"{record.flow.transport}:{f'[{host}]' if ':' in host else host}:{port}"
    if received:
        head = f"<--- Received SIP {kind} ({len(record.data)} bytes) from {remote} --->"
    else:
        head = f"<--- Transmitting SIP {kind} ({len(record.data)} bytes) to {remote} --->"
    typer.echo(head + "\n" + printable(text))


def printable(text: str) -> str:
    """*text* without what a terminal would obey: control characters come as escapes."""
    text = text.replace("\r\n", "\n")
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
