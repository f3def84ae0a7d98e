"""One server that answers OPTIONS over UDP: CPU microseconds per request, beside Kamailio in the same run.

SIPp sends at a fixed rate, well below what any of them can take.  User and system time of the server's processes come
from /proc, so that other work on the machine counts for little.  Switchroom and one Kamailio keep a transaction for
every request, the other Kamailio answers without; the time that transactions cost when they end is part of the figure.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import report

RATE = 1500
HERE = Path(__file__).parent
SCENARIO = """<?xml version="1.0" encoding="UTF-8"?>
<scenario name="options">
  <send retrans="500"><![CDATA[
OPTIONS sip:alive@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
From: <sip:load@[local_ip]:[local_port]>;tag=[pid]b[call_number]
To: <sip:alive@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 OPTIONS
Contact: <sip:load@[local_ip]:[local_port]>
Accept: application/sdp
User-Agent: load
Content-Length: 0

]]></send>
  <recv response="200"/>
</scenario>
"""
KAMAILIO = """#!KAMAILIO
debug=-1
log_stderror=yes
fork=yes
children=1
listen=udp:127.0.0.1:{port}
disable_tcp=yes
auto_aliases=no
mpath="{modules}"
loadmodule "sl.so"
loadmodule "tm.so"
request_route {{
    {answer}
    exit;
}}
"""


class Server(NamedTuple):
    """A server under load."""

    name: str
    process: subprocess.Popen[str]
    port: int


def free_port() -> int:
    """A UDP port of the loopback address that nobody uses at the moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_switchroom(*options: str) -> Server:
    """Our server, on uvloop if it is installed."""
    process = subprocess.Popen(
        [sys.executable, HERE / "options_responder.py", *options], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    port, loop = process.stdout.readline().split()
    return Server(f"switchroom, {loop.partition('.')[0]}", process, int(port))


def start_kamailio(directory: Path, name: str, answer: str) -> Server:
    """Kamailio with one worker and its fast allocator."""
    port = free_port()
    found = [*Path("/usr/lib").glob("*/kamailio/modules/sl.so"), *Path("/usr/lib").glob("kamailio/modules/sl.so")]
    settings = directory / f"{port}.cfg"
    settings.write_text(KAMAILIO.format(port=port, modules=found[0].parent, answer=answer))
    command = ["kamailio", "-f", str(settings), "-DD", "-E", "-x", "tlsf", "-X", "tlsf", "-m", "512", "-M", "32"]
    command += ["-Y", str(directory), "-P", str(directory / f"{port}.pid")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    time.sleep(2)
    if process.poll() is not None:
        raise RuntimeError(f"it ended at once with {process.returncode}: {' '.join(command)}")
    return Server(name, process, port)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children."""
    seconds = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            seconds += int((task / "schedstat").read_text().split()[0]) / 1e9  # in nanoseconds
        except FileNotFoundError:  # a kernel that keeps ticks of 10 ms only
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        for child in (task / "children").read_text().split():
            seconds += cpu_seconds(int(child))
    return seconds


def load(server: Server, directory: Path, seconds: float) -> int:
    """Send OPTIONS for a while; returns how many, all of them answered 200."""
    scenario = directory / "options.xml"
    scenario.write_text(SCENARIO)
    number = int(RATE * seconds)
    command = ["sipp", f"127.0.0.1:{server.port}", "-sf", str(scenario), "-i", "127.0.0.1", "-p", str(free_port())]
    command += ["-m", str(number), "-r", str(RATE), "-l", "20000", "-nostdin"]
    outcome = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if outcome.returncode:
        raise RuntimeError(f"SIPp ended with {outcome.returncode}: {outcome.stdout[-600:]} {outcome.stderr[-300:]}")
    return number


def measure(servers: list[Server], directory: Path, rounds: int, seconds: float, linger: float) -> dict[str, float]:
    """Microseconds per request of each, over rounds in turn and the time until the last transaction has ended.

    What a server takes when it has nothing to do is subtracted.
    """
    for server in servers:
        load(server, directory, seconds)
    time.sleep(linger)
    resting, since = _spent(servers), time.monotonic()
    time.sleep(5.0)
    rest = time.monotonic() - since
    before, since = _spent(servers), time.monotonic()
    requests = 0
    for _ in range(rounds):
        for server in servers:
            count = load(server, directory, seconds)
        requests += count
    time.sleep(linger)
    after, elapsed = _spent(servers), time.monotonic() - since
    print(f"{requests:,} requests to each at {RATE}/s in {elapsed:.0f} s")
    figures: dict[str, float] = {}
    for server, start, first, last in zip(servers, resting, before, after, strict=True):
        idle = (first - start) / rest  # timer processes that wake up whether there is work or not
        figures[server.name] = (last - first - idle * elapsed) / requests * 1e6
    return figures


def _spent(servers: list[Server]) -> list[float]:
    return [cpu_seconds(server.process.pid) for server in servers]


def main() -> None:
    """Print the figures, and keep them."""
    if shutil.which("sipp") is None:
        sys.exit("options_udp needs SIPp: apt-get install sip-tester")
    quick = "--quick" in sys.argv
    peers: dict[str, str] = {}
    servers: list[Server] = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        try:
            servers.append(start_switchroom())
            if not servers[0].name.endswith("asyncio"):
                servers.append(start_switchroom("--asyncio"))
            if shutil.which("kamailio") is None:
                peers["kamailio"] = "not installed: apt-get install kamailio"
                print(f"kamailio is left out: {peers['kamailio']}")
            else:
                version = subprocess.run(["kamailio", "-v"], capture_output=True, text=True, check=True).stdout
                peers["kamailio"] = version.splitlines()[0]
                try:
                    stateful = 't_newtran(); t_reply("200", "OK");'
                    servers.append(start_kamailio(directory, "kamailio, transactions", stateful))
                    servers.append(start_kamailio(directory, "kamailio, stateless", 'sl_send_reply("200", "OK");'))
                except (RuntimeError, IndexError) as error:
                    peers["kamailio"] += f": did not start: {error}"
                    print(f"kamailio is left out: {peers['kamailio']}")
            figures = measure(servers, directory, 1 if quick else 4, 3.0 if quick else 10.0, 2.0 if quick else 36.0)
        finally:
            for server in servers:
                server.process.send_signal(signal.SIGTERM)
            for server in servers:
                server.process.wait(10)
    ours = figures[servers[0].name]
    print("CPU µs per OPTIONS, user and system; ×: against switchroom")
    for label, figure in figures.items():
        print(f"  {label:40}{figure:8.1f}  ×{figure / ours:.2f}")
    kept = {label: {"us": round(figure, 1), "ratio": round(figure / ours, 2)} for label, figure in figures.items()}
    report.keep("options_udp", {"rate": RATE, "figures": kept}, peers, final="--final" in sys.argv)


if __name__ == "__main__":
    main()
