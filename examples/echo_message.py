"""Send every MESSAGE back to whoever sent it, keeping nothing in mind: stateless both ways (RFC 3428)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from switchroom import net
from switchroom.sip.message import Request


def echo(listen: Sequence[str]) -> net.Endpoint:
    """An endpoint that echoes."""
    endpoint = net.Endpoint(listen)

    @endpoint.on("MESSAGE")
    def answer(incoming: net.IncomingRequest) -> None:
        received = incoming.request
        incoming.respond(200)
        message = Request.build(
            "MESSAGE",
            received.from_.uri,
            from_=f"<{received.to.uri}>;tag={net.SystemIdentifiers().token()}",
            to=f"<{received.from_.uri}>",
            call_id=net.SystemIdentifiers().token(),
            cseq=1,
            body=received.body,
            content_type=received.content_type,
        )
        # Over the flow that it came on: a phone behind a NAT can be reached no other way.
        endpoint.send_stateless(message, destination=incoming.flow)

    return endpoint


async def main(listen: Sequence[str] = ("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060")) -> None:
    async with echo(listen) as endpoint:
        print("listening on", *endpoint.listeners)
        await asyncio.Event().wait()  # until Ctrl-C


if __name__ == "__main__":
    try:
        net.run(main(sys.argv[1:]) if sys.argv[1:] else main())
    except KeyboardInterrupt:
        print("bye")
