"""The scenario API: a coroutine that tells a story with phones, against nodes that run in this process.

```python
@scenario(title="Attach", topology="attach.yaml")
async def attach(lab: Lab) -> None:
    phone = lab.phone("001010000000001")
    await lab.attach(phone)
    await lab.ping(phone, lab.server)
    await lab.detach(phone)
```
"""

from __future__ import annotations

import asyncio
import errno
import importlib.util
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epc.af import Af, AfConfig
from epc.dataplane.ip_endpoint import IpHost, udp_exchange
from epc.dataplane.namespace import NamespaceError
from epc.dataplane.namespace_host import NamespaceHost, ProgramResult
from epc.lab.invariants import check_no_session_left, check_nothing_left, check_sessions, check_tunnels, held_sessions, held_tunnels
from epc.lab.ladder import LadderEvent, LadderObserver, Lifelines, NodePlace
from epc.lab.links import LinkEntry, impairments_of
from epc.lab.nas_reader import NasKeys, NasReader
from epc.lab.network import Network, NotReady
from epc.lab.report import PhoneReport, RunReport, tunnel_rows
from epc.lab.settlement import node_counters, settle_in_lab
from epc.lab.story import story_of
from epc.lab.topology import NodeEntry, Topology, load_topology
from epc.node import ConfigError, Node, load_config
from epc.pgw import Pgw
from epc.procedure import stopwatch
from epc.settlement import Settlement, SettlementConfig, UnreadableFile
from epc.settlement.statement import render_differences
from epc.transport.capture import PcapngCapture
from epc.transport.impairment import same_packets
from epc.transport.interface import Tap, TappedPacket, Transport
from ran.phone import Phone
from ran.station import Station

if TYPE_CHECKING:
    from epc.dataplane.services.client import Fetched, Resolution


class ScenarioFailed(Exception):
    """Something did not happen as the scenario says; the text is for people."""


@dataclass(frozen=True, slots=True)
class Scenario:
    run: Callable[[Lab], Awaitable[None]]
    title: str
    topology: Path


def scenario(*, title: str, topology: str) -> Callable[[Callable[[Lab], Awaitable[None]]], Scenario]:
    """Declare the coroutine of a scenario file. ``topology`` is a file beside it."""

    def declare(run: Callable[[Lab], Awaitable[None]]) -> Scenario:
        return Scenario(run, title, Path(run.__code__.co_filename).parent / topology)

    return declare


def load_scenario(path: Path) -> Scenario:
    """The scenario in a Python file. Raises :class:`ConfigError` when there is none, or more than one."""
    specification = importlib.util.spec_from_file_location(f"scenario_{path.stem}", path)
    if specification is None or specification.loader is None or not path.exists():
        raise ConfigError([f"{path}: no such scenario"])
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    found = [value for value in vars(module).values() if isinstance(value, Scenario)]
    if len(found) != 1:
        raise ConfigError([f"{path}: needs exactly one function decorated with @scenario, has {len(found)}"])
    return found[0]


def lifelines_of(topology: Topology) -> Lifelines:
    """The columns of its ladder."""
    return Lifelines({entry.name: NodePlace(entry.kind, entry.operator, _listens_at(entry)) for entry in topology.nodes}, topology.operators)


def _listens_at(entry: NodeEntry) -> tuple[str, ...]:
    sections = (entry.config, *(section for _, section in entry.config))
    return tuple([each.host for section in sections for each in getattr(section, "listen", ())])


class LabTap:
    """Shows each packet to the ladder, then writes it to the capture, with the IMSI that the ladder found and what was ciphered made readable."""

    def __init__(self, observer: LadderObserver, trace: Path | None) -> None:
        self._observer = observer
        self._capture = PcapngCapture(trace, imsi_of=lambda packet: observer.last_imsi or None) if trace is not None else None

    def packet(self, packet: TappedPacket) -> None:
        self._observer.packet(packet)
        if self._capture is not None:
            self._capture.packet(packet)
            for plain in self._observer.readable:
                self._capture.readable_copy(
                    packet.time, packet.node, "nas-eps_plain", plain, packet.source, packet.destination, imsi=self._observer.last_imsi or None)

    def close(self) -> None:
        if self._capture is not None:
            self._capture.close()


class Lab:
    """What a scenario has in hand."""

    def __init__(
        self,
        topology: Topology,
        transport_for: Callable[[NodeEntry, Tap], Transport],
        *,
        title: str = "",
        trace: Path | None = None,
        on_event: Callable[[LadderEvent], None] | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.topology = topology
        self.report = RunReport(scenario=topology.name, title=title or topology.name)
        self.nas_reader = NasReader()
        self.observer = LadderObserver(lifelines_of(topology), on_event=on_event, read_nas=self._read_nas)
        self._tap = LabTap(self.observer, trace)
        self.network = Network(topology, lambda entry: transport_for(entry, self._tap))
        self.say = say
        self._phones_used: dict[str, Phone] = {}
        self._phones_live_in = ""

    # life

    async def start(self, *, patience_s: float = 15.0) -> None:
        try:
            await self.network.start(patience_s=patience_s)
        except NotReady as error:
            raise ScenarioFailed(str(error)) from None
        except OSError as error:
            hint = "; does another lab run here? `epclab lab down` ends one that was started with --detach" if error.errno == errno.EADDRINUSE else ""
            raise ScenarioFailed(f"a node could not be started: {error}{hint}") from error

    async def stop(self) -> None:
        await self.network.stop()
        self._tap.close()

    # who is there

    def node(self, name: str) -> Node[Any]:
        try:
            return self.network.nodes[name]
        except KeyError:
            raise ScenarioFailed(f"no node {name!r}; there are {', '.join(self.network.nodes)}") from None

    @property
    def radios(self) -> list[Station]:
        return [node for node in self.network if isinstance(node, Station)]

    @property
    def phones(self) -> list[Phone]:
        return [phone for radio in self.radios for phone in radio.phones.values()]

    def phone(self, imsi: str) -> Phone:
        for radio in self.radios:
            if imsi in radio.phones:
                return radio.phones[imsi]
        raise ScenarioFailed(f"no phone with IMSI {imsi} in the topology")

    @property
    def server(self) -> str:
        """Address of the host on SGi that answers pings and echoes UDP on port 7."""
        for entry in (*self.topology.of_kind("pgw"), *self.topology.of_kind("pgwu")):
            server = getattr(self.network.nodes[entry.name], "sgi_server", None)
            if server:
                return str(server)
        raise ScenarioFailed("no PGW of the topology has a server on SGi")

    # what happens

    def check(self, condition: bool, what: str) -> None:
        """Note ``what`` as passed, or end the scenario with it."""
        self.report.checks.append((what, condition))
        self.say(("✓ " if condition else "✗ ") + what)
        if not condition:
            raise ScenarioFailed(what)

    async def attach(self, phone: Phone, *, apn: str | None = None) -> None:
        """Attach and expect success; the phone's address and tunnels go into the report."""
        clock = stopwatch()
        started = clock()
        result = await phone.ue.attach(apn, max_attempts=1)
        self.check(result.success, f"IMSI {phone.imsi} attached" if result.success else f"IMSI {phone.imsi} could not attach: {result}")
        duration_s = clock() - started
        await self.settled()
        row = self.report.phones.setdefault(phone.imsi, PhoneReport(imsi=phone.imsi))
        row.attach_s = duration_s
        row.ip = str(phone.ue.ip or "")
        row.tunnels = tunnel_rows(phone.imsi, self.network, self.observer)
        row.story = story_of(phone.imsi, row.ip, self.observer)
        self._phones_used[phone.imsi] = phone

    async def _host(self, phone: Phone) -> IpHost:
        """Where the phone's programs run; said once."""
        host = await phone.host()
        if phone.lives_in != self._phones_live_in:
            self._phones_live_in = phone.lives_in
            self.say(f"phones' programs: {phone.lives_in}")
        return host

    async def ping(self, phone: Phone, destination: str, *, count: int = 3) -> None:
        host = await self._host(phone)
        result = await host.ping(destination, count=count)
        self.check(result.received == count, f"ping from {phone.ue.ip} to {destination}: {result}")

    async def exchange_udp(self, phone: Phone, destination: str, port: int, payload: bytes) -> None:
        host = await self._host(phone)
        try:
            answer = await udp_exchange(host, destination, port, payload)
        except TimeoutError:
            answer = None
        self.check(answer == payload, f"UDP from {phone.ue.ip} to {destination}:{port} and back, {len(payload)} octets")

    async def resolve(self, phone: Phone, name: str, *, timeout_s: float = 1.0) -> Resolution:
        """The addresses of a name, from the name servers that the network told the phone; no answer is a result too.

        ``if await lab.resolve(phone, "www.example.test"): ...``; iterate over it for the addresses, ``error`` says why there are none.
        """
        from epc.dataplane.services import client

        host = await self._host(phone)
        resolved = await client.resolve(host, phone.ue.dns_servers, name, timeout_s=timeout_s)
        self.say(f"IMSI {phone.imsi} asks for {name}: {resolved}")
        return resolved

    async def fetch(
        self, phone: Phone, url: str, *, method: str = "GET", body: bytes = b"", timeout_s: float = 5.0, address: str | None = None,
    ) -> Fetched:
        """A web page as the phone gets it: name, connection, TLS and HTTP all through its tunnels. A failure is a result, not an exception.

        ``address`` is the IPv4 address of the URL's host where the phone shall not ask for it: nothing on the way learns it from the DNS.
        The phone trusts the web servers on SGi. ``page.status`` and ``page.body``, or ``page.error``
        (:class:`epc.dataplane.services.client.Failure`).
        """
        from epc.dataplane.services import client

        host = await self._host(phone)
        fetched = await client.fetch(
            host, phone.ue.dns_servers, url, authorities=self._certificate_authorities(), method=method, body=body, timeout_s=timeout_s,
            address=IPv4Address(address) if address else None)
        self.say(f"IMSI {phone.imsi} fetches {fetched}")
        return fetched

    async def run_as(self, phone: Phone, *command: str, input: bytes = b"", timeout_s: float = 60.0) -> ProgramResult:
        """Run a program of this machine as the phone: its network is the phone's, its name servers too. Takes phones in namespaces.

        Returns its exit status and what it wrote. Ends the scenario where phones live inside this process, where the program cannot be
        started, and when it runs longer than ``timeout_s``.
        """
        host = await self._host(phone)
        if not isinstance(host, NamespaceHost):
            raise ScenarioFailed(f"`{command[0]}` cannot run as IMSI {phone.imsi}, for phones live inside this process ({phone.lives_in})")
        try:
            async with asyncio.timeout(timeout_s):
                result = await host.run_and_collect(
                    *command, input=input, name_servers=phone.ue.dns_servers, authorities=self._certificate_authorities())
        except NamespaceError as error:
            raise ScenarioFailed(f"`{command[0]}` cannot run as IMSI {phone.imsi}: {error.strerror or error}") from None
        except TimeoutError:
            raise ScenarioFailed(f"`{' '.join(command)}` did not end within {timeout_s:g} s") from None
        self.say(f"IMSI {phone.imsi} runs `{' '.join(command)}`: exit status {result.status}")
        return result

    def _certificate_authorities(self) -> list[str]:
        """Of the web servers on SGi."""
        return [pem for entry in (*self.topology.of_kind("pgw"), *self.topology.of_kind("pgwu"))
                for pem in getattr(self.network.nodes.get(entry.name), "certificate_authorities", {}).values()]

    async def detach(self, phone: Phone, *, switch_off: bool = False) -> None:
        result = await phone.ue.detach(switch_off=switch_off)
        self.check(result.success, f"IMSI {phone.imsi} detached")
        await self.settled()

    async def command(self, node: str, name: str, **arguments: str) -> Any:
        """What ``epclab ctl NODE NAME KEY=VALUE`` does, and its result."""
        found = self.node(node).commands().get(name)
        if found is None:
            raise ScenarioFailed(f"{node} has no command {name!r}")
        try:
            return await found(**arguments)
        except (LookupError, ValueError) as error:
            raise ScenarioFailed(f"{node} {name}: {error}") from error

    async def application(self, name: str = "af1") -> Af:
        """The topology's application function of that name; one that is not in the topology is made, and talks to its first PCRF.

        ``bearer = await (await lab.application()).request_bearer(phone.ue.ip, server="10.200.0.1:5004")``
        """
        known = self.network.nodes.get(name)
        if known is None:
            pcrf = next(iter(self.topology.of_kind("pcrf")), None)
            if pcrf is None:
                raise ScenarioFailed("no PCRF in the topology that an application could ask")
            config = AfConfig.model_validate({
                "name": name, "origin_host": f"{name}.{pcrf.data['origin_realm']}", "origin_realm": pcrf.data["origin_realm"],
                "rx": {"peers": [{"host": pcrf.data["gx"]["listen"][0]["host"]}]}})
            known = await self.network.add(NodeEntry(name=name, kind="af", operator=pcrf.operator, config=config, data={}))
        if not isinstance(known, Af):
            raise ScenarioFailed(f"{name} is no application function but a {known.kind}")
        await self.network.ready(15.0)
        return known

    def impair(self, a: str, b: str, *, both_ways: bool = True, **quality: object) -> None:
        """From now on the link between two nodes (or a node and an address) is bad, as a topology's ``links`` would say it:
        ``lab.impair("enb1", "sgw1", interface="S1-U", delay_ms=40, loss="1%")``. It goes before what was there. Raises ``ValueError``.
        """
        link = LinkEntry.model_validate({**({"between": (a, b)} if both_ways else {"from": a, "to": b}), **quality})
        for name, config in impairments_of(self.topology.nodes, link):
            impairments = self.node(name).transport.impairments
            new = config.impairment
            impairments.replace((new, *(each for each in impairments.rules if not same_packets(each, new))))

    def repair(self, *names: str) -> None:
        """Every link of these nodes is good again in the direction away from them; without names, every link."""
        for name in names or self.network.nodes:
            self.node(name).transport.impairments.replace(())

    async def settled(self, *, patience_s: float = 5.0) -> None:
        """Wait until no procedure runs on any node."""
        loop = asyncio.get_running_loop()
        end = loop.time() + patience_s
        quiet = 0
        while quiet < 3 and loop.time() < end:
            quiet = 0 if any(len(node.runner) for node in self.network) else quiet + 1
            await asyncio.sleep(0.005)

    async def settlement(
        self, agreement: Path | SettlementConfig, *, visited: str | None = None, home: str | None = None, agrees: bool = True,
    ) -> Settlement:
        """Both get paid: bill the visited operator's S-GW records, and check them against all that home and the phones counted.

        ``agreement`` is a file as ``epclab settle --config`` takes it; its operators are called as in the topology. ``visited`` and ``home``
        say which agreement where there are several. Sessions should have ended, or the OCS has not yet heard of their last octets. Every open
        record is closed. The papers go into the report's folder, below ``settlement``. The scenario fails unless all agree to the octet, or
        with ``agrees=False`` when they do.
        """
        await self.settled()
        config = agreement if isinstance(agreement, SettlementConfig) else load_config(agreement, SettlementConfig)
        try:
            found = await settle_in_lab(self.network, self.topology, config, visited, home)
        except (LookupError, UnreadableFile) as error:
            raise ScenarioFailed(f"settlement: {error.args[0]}") from None
        self.report.settlement = found
        settlement = found.settlement
        octets, currency = settlement.visited_octets, settlement.agreement.currency
        what = (f"{settlement.visited.name} invoices {settlement.charge} {currency} to {settlement.home.name} for {octets.total} octets "
                f"(TAP file {settlement.tap.name})")
        differences = "; ".join(render_differences(settlement.differences, currency)[::2])
        if agrees:
            self.check(settlement.agrees, what + (", and all agree to the octet" if settlement.agrees else f", which differs: {differences}"))
        else:
            self.check(not settlement.agrees, what + (f", and the differences are found: {differences}" if differences else ", and all agree"))
        return settlement

    def note_counters(self) -> None:
        """What phones and gateways counted goes into the report."""
        self.report.user_plane = [asdict(each) for each in node_counters(self.network, self.topology)]
        for phone in self.phones:
            if phone.imsi in self.report.phones:
                self.report.phones[phone.imsi].usage = phone.usage()

    def check_invariants(self, *, nothing_left: bool | None = None) -> None:
        """No orphan and no mismatched tunnel, no session that only one end holds; when no phone is registered, none at all.

        Sessions are left alone while a procedure runs somewhere: it may be about to begin or to end one. Wait with :meth:`settled`.
        """
        held = held_tunnels(self.network)
        problems = check_tunnels(held, {entry.kind for entry in self.topology.nodes})
        nobody_there = nothing_left or (nothing_left is None and not any(phone.ue.registered for phone in self.phones))
        if nobody_there:
            problems += check_nothing_left(held)
        if not any(len(node.runner) for node in self.network):
            sessions = held_sessions(self.network)
            unmatched = check_sessions(sessions, [node.kind for node in self.network])
            problems += unmatched
            if nobody_there:
                problems += check_no_session_left(sessions, [(node.config.name, peer) for node in self.network for peer in node.associated_peers()])
        self.report.problems += problems
        self.check(not problems, "no orphan or mismatched tunnel or session on any node" if not problems else "left over: " + "; ".join(problems))

    def _read_nas(self, octets: bytes, uplink: bool) -> bytes | None:
        for node in self.network.of_kind("mme"):
            self.nas_reader.learn(NasKeys(*keys) for keys in node.nas_keys())       # type: ignore[attr-defined]
        return self.nas_reader.read(octets, uplink)


async def run_scenario(
    chosen: Scenario,
    transport_for: Callable[[NodeEntry, Tap], Transport],
    *,
    trace: Path | None = None,
    on_event: Callable[[LadderEvent], None] | None = None,
    say: Callable[[str], None] = lambda text: None,
    topology: Topology | None = None,
) -> Lab:
    """Run to the end; the lab's report says how it went. Invariants are checked whatever the scenario did."""
    lab = Lab(topology or load_topology(chosen.topology), transport_for, title=chosen.title, trace=trace, on_event=on_event, say=say)
    started = time.monotonic()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(lab.stop)
        try:
            await lab.start()
            say(f"{len(lab.network.nodes)} nodes up: {', '.join(lab.network.nodes)}")
            for pgw in lab.network.of_kind("pgw"):
                if isinstance(pgw, Pgw) and pgw.servers_live_in:
                    say(f"servers on SGi: {pgw.servers_live_in}")
            await chosen.run(lab)
            await lab.settled()
            lab.note_counters()
            lab.check_invariants()
            lab.report.result = "passed"
        except ScenarioFailed as error:
            lab.report.result = "failed"
            if str(error) not in lab.report.problems:
                lab.report.problems.append(str(error))
    lab.report.duration_s = time.monotonic() - started
    return lab
