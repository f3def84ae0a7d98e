"""The public test kit: a virtual-time event loop and a network in memory.

    def test_lost_invite(lab):
        lab.network.link = Link(loss=0.3)
        lab.run(scenario(lab))

`Lab` holds the parts together; pytest gets a `lab` fixture from this package without any configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# The plugin is loaded by every pytest run of whoever has Switchroom installed, so this package imports on first use.
if TYPE_CHECKING:
    from .clock import EPOCH, Clock
    from .dns import Zones
    from .errors import DeadlockError, LabError, RealWorldError, TimeLimitError
    from .host import Host
    from .identifiers import SeededIdentifiers
    from .lab import Lab
    from .link import INTERNET, LAN, Link
    from .loop import VirtualTimeLoop
    from .nat import ADDRESS_RESTRICTED, FULL_CONE, PORT_RESTRICTED, SYMMETRIC, Dependence, NatBehaviour, NatBox
    from .network import MemoryNetwork
    from .record import Note, Passage, Trace
    from .tls import LAB_CA, Certificate, TlsContext

_WHERE = {
    "EPOCH": "clock",
    "Clock": "clock",
    "Zones": "dns",
    "DeadlockError": "errors",
    "LabError": "errors",
    "RealWorldError": "errors",
    "TimeLimitError": "errors",
    "SeededIdentifiers": "identifiers",
    "Lab": "lab",
    "INTERNET": "link",
    "LAN": "link",
    "Link": "link",
    "VirtualTimeLoop": "loop",
    "ADDRESS_RESTRICTED": "nat",
    "FULL_CONE": "nat",
    "PORT_RESTRICTED": "nat",
    "SYMMETRIC": "nat",
    "Dependence": "nat",
    "NatBehaviour": "nat",
    "NatBox": "nat",
    "Host": "host",
    "MemoryNetwork": "network",
    "Note": "record",
    "Passage": "record",
    "Trace": "record",
    "LAB_CA": "tls",
    "Certificate": "tls",
    "TlsContext": "tls",
}

__all__ = [
    "ADDRESS_RESTRICTED",
    "EPOCH",
    "FULL_CONE",
    "INTERNET",
    "LAB_CA",
    "LAN",
    "PORT_RESTRICTED",
    "SYMMETRIC",
    "Certificate",
    "Clock",
    "DeadlockError",
    "Dependence",
    "Host",
    "Lab",
    "LabError",
    "Link",
    "MemoryNetwork",
    "NatBehaviour",
    "NatBox",
    "Note",
    "Passage",
    "RealWorldError",
    "SeededIdentifiers",
    "TimeLimitError",
    "TlsContext",
    "Trace",
    "VirtualTimeLoop",
    "Zones",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_WHERE[name]}", __name__), name)
