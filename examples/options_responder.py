"""Answer OPTIONS on UDP and TCP: the smallest SIP server there is.  Try it: sipsak -s sip:me@127.0.0.1:5060"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from switchroom import net


def responder(listen: Sequence[str]) -> net.Endpoint:
    """An endpoint that says what it can do."""
    endpoint = net.Endpoint(listen)

    @endpoint.on("OPTIONS")
    def answer(incoming: net.IncomingRequest) -> None:
        incoming.respond(200, headers=[("Allow", "OPTIONS"), ("Accept", "application/sdp")])

    return endpoint


async def main(listen: Sequence[str] = ("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060")) -> None:
    async with responder(listen) as endpoint:
        print("listening on", *endpoint.listeners)
        await asyncio.Event().wait()  # until Ctrl-C


if __name__ == "__main__":
    try:
        net.run(main(sys.argv[1:]) if sys.argv[1:] else main())
    except KeyboardInterrupt:
        print("bye")
