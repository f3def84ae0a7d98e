"""Test an endpoint while a third of all datagrams are lost: `pytest examples/lab_with_loss.py` takes milliseconds.

A test that fails prints its seed, the ladder of its run, and the command that repeats it.
"""

from __future__ import annotations

from switchroom.lab import Lab, Link
from switchroom.lab.pytest_plugin import OverSeeds
from switchroom.net import IncomingRequest
from switchroom.sip.message import Request


async def ask(lab: Lab) -> None:
    """Ask a server whether it is alive."""
    lab.network.link = Link(latency=0.03, jitter=0.02, loss=1 / 3)
    server = lab.endpoint("192.0.2.2", ["udp"], name="server")
    phone = lab.endpoint("192.0.2.1", ["udp"], name="phone")

    @server.on("OPTIONS")
    async def answer(incoming: IncomingRequest) -> None:
        incoming.respond(200)

    async with server, phone:
        target = "sip:192.0.2.2"
        request = Request.build(
            "OPTIONS", target, from_="<sip:a@example.com>;tag=1", to=f"<{target}>", call_id="c1", cseq=1
        )
        response = await phone.request(request)
    assert response.status == 200
    assert lab.time() < 32  # sent again and again (timer E), and answered before timer F


async def test_one_seed(lab: Lab) -> None:
    await ask(lab)
    assert "OPTIONS (1)" in lab.ladder()


def test_many_seeds(over_seeds: OverSeeds) -> None:
    over_seeds(ask, 20)
