"""What compiling the hot modules gains: `python benchmarks/compiled.py PYTHON COMPILED_PYTHON [--final]`.

Each interpreter times the same work, in turn and three times over; the best counts.  Called by `make test-compiled`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

WORK = ("parse", "parse_via_cseq", "validate", "encode_changed", "options_in_layer")


def measure() -> dict[str, float]:
    """CPU microseconds of each piece of work, in this interpreter."""
    import report
    from parse import INVITE
    from transactions import flow

    from switchroom.net.identifiers import SystemIdentifiers
    from switchroom.sip.layer import RequestReceived, TransactionLayer
    from switchroom.sip.message import parse, validate

    changed = parse(INVITE)
    changed.headers.set("Max-Forwards", "69")

    def values() -> None:
        message = parse(INVITE)
        assert message.via.branch
        assert message.cseq.number

    def judged() -> None:
        validate(parse(INVITE))

    layer = TransactionLayer(SystemIdentifiers())
    here = flow("192.0.2.2", "192.0.2.1")
    options = (
        INVITE.partition(b"\r\n\r\n")[0].replace(b"INVITE", b"OPTIONS").replace(b"Content-Length: ", b"X-Length: ")
    )
    options += b"\r\n\r\n"
    state = [0]

    def server() -> None:
        state[0] += 1
        now = state[0] / 250
        branch = b"z9hG4bK%d" % state[0]
        layer.receive(options.replace(b"z9hG4bK74bf9", branch), here, now)
        layer.handle_timers(now)
        for event in layer.take_events():
            if isinstance(event, RequestReceived) and event.transaction is not None:
                layer.send_response(event.transaction, event.request.create_response(200, to_tag="bench"), now)
        assert layer.take_output()

    calls = (lambda: parse(INVITE), values, judged, changed.encode, server)
    timings = report.interleave(dict(zip(WORK, calls, strict=True)), rounds=20)
    return {name: timing.best for name, timing in timings.items()} | {"compiled": report.compiled()}


def main(arguments: list[str]) -> None:
    """Run both interpreters in turn, print the ratios and keep the figures."""
    if arguments == ["--measure"]:
        print(json.dumps(measure()))
        return
    import report

    interpreters = [each for each in arguments if not each.startswith("--")]
    best: list[dict[str, float]] = [{}, {}]
    for _ in range(3):
        for which, python in enumerate(interpreters):
            command = [python, __file__, "--measure"]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            figures = json.loads(output)
            if figures.pop("compiled") != bool(which):
                sys.exit(f"{python} is {'not ' * bool(which)}the compiled one")
            best[which] = {name: min(value, best[which].get(name, value)) for name, value in figures.items()}
    print(f"{'µs of CPU':20}{'interpreted':>12}{'compiled':>12}{'gain':>8}")
    for name in WORK:
        plain, hot = best[0][name], best[1][name]
        print(f"{name:20}{plain:12.2f}{hot:12.2f}{plain / hot:7.2f}×")
    report.keep("compiled", {"interpreted_us": best[0], "compiled_us": best[1]}, {}, final="--final" in arguments)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main(sys.argv[1:])
