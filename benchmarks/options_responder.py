"""The server of options_udp.py, in a process of its own: answers OPTIONS over UDP; prints its port when it is ready."""

from __future__ import annotations

import asyncio
import sys

from switchroom.net import Endpoint, IncomingRequest
from switchroom.net.loop import new_event_loop


async def serve() -> None:
    """Answer until the process is ended."""
    endpoint = Endpoint(["udp:127.0.0.1:0"])

    @endpoint.on("OPTIONS")
    def alive(incoming: IncomingRequest) -> None:
        incoming.respond(200)

    async with endpoint:
        loop = asyncio.get_running_loop()
        print(f"{endpoint.listeners[0].port} {type(loop).__module__}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    factory = asyncio.new_event_loop if "--asyncio" in sys.argv else new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve())
