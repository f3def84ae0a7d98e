"""NAT boxes: how they map and how they filter (RFC 4787; the four classic kinds are those of RFC 3489 §5)."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from .errors import LabError
from .host import UDP, Packet, Subnet, address_of

if TYPE_CHECKING:
    from .host import Host
    from .network import MemoryNetwork
    from .record import Address


class Dependence(Enum):
    """On what of the remote side a mapping, or a filter, depends (RFC 4787 §4.1 and §5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS = "address"
    ADDRESS_AND_PORT = "address and port"


@dataclass(frozen=True, slots=True)
class NatBehaviour:
    """What kind of box it is; times in seconds."""

    mapping: Dependence = Dependence.ENDPOINT_INDEPENDENT
    """For which remote ends one inside address and port keeps the same outside port."""
    filtering: Dependence = Dependence.ENDPOINT_INDEPENDENT
    """Which remote ends may send to that port: all, or those (addresses, addresses and ports) sent to before."""
    preserve_ports: bool = True
    """The outside port is the inside port where it is free (RFC 4787 §4.2.1)."""
    hairpin: bool = False
    """Two inside hosts reach each other through their outside addresses (RFC 4787 §6)."""
    udp_timeout: float = 120.0
    """An idle binding for datagrams is forgotten after so long (RFC 4787 REQ-5 asks for at least 120)."""
    tcp_timeout: float = 7440.0
    """The same for streams (RFC 5382 REQ-5)."""
    inbound_refresh: bool = False
    """Packets from outside keep a binding alive, too (RFC 4787 REQ-6)."""


FULL_CONE: Final = NatBehaviour()
ADDRESS_RESTRICTED: Final = NatBehaviour(filtering=Dependence.ADDRESS)
PORT_RESTRICTED: Final = NatBehaviour(filtering=Dependence.ADDRESS_AND_PORT)
SYMMETRIC: Final = NatBehaviour(mapping=Dependence.ADDRESS_AND_PORT, filtering=Dependence.ADDRESS_AND_PORT)


@dataclass(slots=True)
class _Binding:
    protocol: str
    inside: Address
    outside: Address
    used_at: float
    permitted: dict[tuple[str, int], float] = field(default_factory=dict)
    """The remote ends sent to, and when last; the port is 0 where the filter does not look at it."""
    fixed: bool = False


class NatBox:
    """A router between an inside of its own and the subnet that it stands in.

    Made by `MemoryNetwork.nat` or, for a box behind this one, by `nat`.
    """

    def __init__(
        self, network: MemoryNetwork, name: str, addresses: tuple[str, ...], outer: Subnet, behaviour: NatBehaviour
    ) -> None:
        self.name = name
        self.up = True
        """A box that is down drops everything."""
        self.behaviour = behaviour
        self.inside = Subnet(f"inside {name}", gateway=self)
        """The addresses behind this box."""
        self._network = network
        self._outer = outer
        self._addresses = addresses
        self._by_inside: dict[tuple[object, ...], _Binding] = {}
        self._forwarded: dict[tuple[str, Address, str], _Binding] = {}
        self._by_outside: dict[tuple[str, Address], _Binding] = {}
        self._random = random.Random(f"{network.seed}/nat/{name}")
        self._preserves = behaviour.preserve_ports
        for address in addresses:
            outer.add(address, self)

    def host(self, name: str, *addresses: str) -> Host:
        """Make a host behind this box."""
        return self._network.host(name, *addresses, subnet=self.inside)

    def nat(self, name: str, *addresses: str, behaviour: NatBehaviour = FULL_CONE) -> NatBox:
        """Make a box behind this box: its outside addresses are inside addresses here."""
        return self._network.nat(name, *addresses, behaviour=behaviour, subnet=self.inside)

    def forward(self, protocol: str, port: int, inside: Address) -> None:
        """Let anybody reach *inside* at the box's outside *port* for `"UDP"` or `"TCP"` (port forwarding)."""
        for address in self._addresses:
            outside = (address, port)
            if (protocol, outside) in self._by_outside:
                raise LabError(f"{self.name} uses {protocol} port {port} already")
            binding = _Binding(protocol, address_of(*inside), outside, 0.0, fixed=True)
            self._by_outside[protocol, outside] = binding
            self._forwarded[protocol, binding.inside, address] = binding

    def rebind(self, *addresses: str) -> None:
        """Forget every binding, as a reboot does; new ones get other ports.

        With *addresses*, the box also has these from now on instead of its old outside addresses.
        """
        self._by_inside = {}
        self._by_outside = {key: binding for key, binding in self._by_outside.items() if binding.fixed}
        self._preserves = False
        if addresses:
            for old in self._addresses:
                self._outer.remove(old)
            self._addresses = tuple(address_of(address, 0)[0] for address in addresses)
            for new in self._addresses:
                self._outer.add(new, self)

    @property
    def bindings(self) -> dict[tuple[str, Address], Address]:
        """The live bindings: (protocol, inside address) to outside address; of several, the newest."""
        return {
            (binding.protocol, binding.inside): binding.outside
            for binding in self._by_outside.values()
            if not self._stale(binding)
        }

    # -- packets ------------------------------------------------------------------------------------------------

    def receive(self, packet: Packet, subnet: Subnet) -> None:
        """A packet arrives from *subnet*: one from inside goes out, one from outside goes in or is dropped."""
        if subnet is not self.inside:
            self._inward(packet)
            return
        source = self._map(packet)
        if source is None:
            packet.lost(f"no outside address at {self.name}")
            return
        packet = packet.readdressed(source=source)
        if packet.destination[0] not in self._addresses:
            self._network.carry(packet, self, self._outer)
        elif self.behaviour.hairpin:
            self._inward(packet)
        else:
            packet.lost(f"no hairpin at {self.name}")

    def _map(self, packet: Packet) -> Address | None:
        protocol, remote, now = packet.protocol, packet.destination, self._network.time()
        address = self._outside_address(remote)
        if address is None:
            return None
        fixed = self._forwarded.get((protocol, packet.source, address))
        if fixed is not None:
            return fixed.outside
        key: tuple[object, ...] = (protocol, packet.source)
        if self.behaviour.mapping is Dependence.ADDRESS:
            key = (*key, remote[0])
        elif self.behaviour.mapping is Dependence.ADDRESS_AND_PORT:
            key = (*key, remote)
        binding = self._by_inside.get(key)
        if binding is None or self._stale(binding):
            if binding is not None and self._by_outside.get((protocol, binding.outside)) is binding:
                del self._by_outside[protocol, binding.outside]
            outside = (address, self._free_port(protocol, address, packet.source[1]))
            binding = _Binding(protocol, packet.source, outside, now)
            self._by_inside[key] = self._by_outside[protocol, outside] = binding
        binding.used_at = now
        binding.permitted[self._filter_key(remote)] = now
        return binding.outside

    def _inward(self, packet: Packet) -> None:
        binding = self._by_outside.get((packet.protocol, packet.destination))
        if binding is None or self._stale(binding):
            packet.lost(f"no binding at {self.name}")
            return
        if not binding.fixed:
            now = self._network.time()
            if self.behaviour.filtering is not Dependence.ENDPOINT_INDEPENDENT:
                sent_at = binding.permitted.get(self._filter_key(packet.source))
                if sent_at is None or sent_at + self._timeout(binding) < now:
                    packet.lost(f"filtered at {self.name}")
                    return
            if self.behaviour.inbound_refresh:
                binding.used_at = now
                binding.permitted[self._filter_key(packet.source)] = now
        self._network.carry(packet.readdressed(destination=binding.inside), self, self.inside)

    def _filter_key(self, remote: Address) -> tuple[str, int]:
        if self.behaviour.filtering is Dependence.ADDRESS_AND_PORT:
            return remote
        return (remote[0], 0)

    def _timeout(self, binding: _Binding) -> float:
        return self.behaviour.udp_timeout if binding.protocol == UDP else self.behaviour.tcp_timeout

    def _stale(self, binding: _Binding) -> bool:
        return not binding.fixed and binding.used_at + self._timeout(binding) < self._network.time()

    def _outside_address(self, remote: Address) -> str | None:
        wants_ipv6 = ":" in remote[0]
        for address in self._addresses:
            if (":" in address) is wants_ipv6:
                return address
        return None

    def _free_port(self, protocol: str, address: str, wanted: int) -> int:
        port = wanted if self._preserves else self._random.randrange(1024, 65536)
        for _ in range(65536):
            binding = self._by_outside.get((protocol, (address, port)))
            if binding is None or self._stale(binding):
                return port
            port = self._random.randrange(1024, 65536)
        raise LabError(f"{self.name} has no free {protocol} port")  # 64,511 live bindings: a leak in the test
