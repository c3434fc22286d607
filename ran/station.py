"""The node ``epclab enb``: an eNodeB and the phones that camp on its cells."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Annotated, Literal

from pydantic import Field, model_validator

from epc.dataplane.hosts import EVERYWHERE, HostKind, Hosts, InProcessHosts, open_hosts
from epc.dataplane.ip_endpoint import UDP_ECHO_PORT, UE_MTU_OCTETS, IpHost, udp_exchange
from epc.dataplane.namespace_host import NamespaceHost
from epc.node import Command, Section, View
from epc.node.config import PlmnDigits
from epc.wire import nas
from epc.wire.identity import Plmn
from ran.enb import Enb, EnbConfig
from ran.enb.radio import Cell
from ran.phone import Phone
from ran.ue import ProcedureRunning, Result, Ue, UeConfig

A_FEW = 8


class StoredGuti(Section):
    """A GUTI from an earlier registration, as a phone finds it on its USIM when it is switched on (TS 24.301 annex C)."""

    plmn: PlmnDigits
    mme_group_id: Annotated[int, Field(ge=0, le=0xFFFF)]
    mme_code: Annotated[int, Field(ge=0, le=0xFF)]
    m_tmsi: Annotated[int, Field(ge=0, le=0xFFFFFFFF)]


class PhoneConfig(UeConfig):
    cell_id: int | None = Field(default=None, description="the cell on which it camps; default: the first")
    host: Literal["none", "namespace", "in_process", "auto"] | None = Field(
        default=None, description="where its programs run; default: as phone_hosts says for the eNodeB's first 8 phones, in_process for "
                                  "more; none: no IP stack; namespace: made at the attach already, otherwise hosts are made when first used")
    searches: bool = Field(default=False, description="looks for another cell of this eNodeB by itself when it is told that it may not use its own")
    guti: StoredGuti | None = Field(default=None, description="left from an earlier registration; an MME that does not know it asks for the IMSI")


class StationConfig(EnbConfig):
    phones: tuple[PhoneConfig, ...] = ()
    phone_hosts: Literal["auto", "namespace", "in_process"] = Field(
        default="auto", description="where a phone's programs run: a network namespace with a TUN device, or an IP stack inside this process")

    @model_validator(mode="after")
    def _phones_fit(self) -> StationConfig:
        cells = {cell.cell_id for cell in self.cells}
        for phone in self.phones:
            if phone.cell_id is not None and phone.cell_id not in cells:
                raise ValueError(f"IMSI {phone.imsi} camps on cell {phone.cell_id}, which is not among the cells")
            if phone.guti is not None and phone.count > 1:
                raise ValueError(f"IMSI {phone.imsi}: {phone.count} phones cannot have the same GUTI")
        return self


class Station(Enb):
    """An eNodeB with phones."""

    config: StationConfig
    config_model = StationConfig

    phones: dict[str, Phone]

    async def start(self) -> None:
        self._hosts: dict[str, Hosts] = {
            "in_process": InProcessHosts(), "namespace": _HostsOnDemand(HostKind.NAMESPACE), "auto": _HostsOnDemand(HostKind.AUTO)}
        self.phones = {}
        await super().start()
        self.metrics.gauge("registered_ues", "Phones in EMM-REGISTERED", lambda: sum(phone.ue.registered for phone in self.phones.values()))
        for entry in self.config.phones:
            for ue in Ue.from_config(entry, self.runner):
                if entry.guti is not None:
                    ue.guti = nas.Guti(
                        plmn=Plmn(entry.guti.plmn), mme_group_id=entry.guti.mme_group_id, mme_code=entry.guti.mme_code, m_tmsi=entry.guti.m_tmsi)
                ue.camp_on(self._cell_of(entry))
                self.phones[ue.sim.imsi] = Phone(ue, self._hosts_for(entry), is_ready_to_use=entry.host == "namespace")
                ue.cells_in_reach = tuple(self.cells) if entry.searches else ()

    async def stop(self) -> None:
        for phone in self.phones.values():
            await phone.close()
        await super().stop()
        for hosts in self._hosts.values():
            await hosts.close()

    def _hosts_for(self, entry: PhoneConfig) -> Hosts | None:
        """The first phones may get a namespace when somebody wants to run programs; not the thousands that a benchmark attaches."""
        kind = entry.host or (self.config.phone_hosts if len(self.phones) < A_FEW else "in_process")
        return None if kind == "none" else self._hosts[kind]

    def _cell_of(self, entry: PhoneConfig) -> Cell:
        identifiers = [cell.cell_id for cell in self.config.cells]
        return self.cells[0 if entry.cell_id is None else identifiers.index(entry.cell_id)]

    def phone(self, imsi: str) -> Phone:
        try:
            return self.phones[imsi]
        except KeyError:
            raise LookupError(f"no phone with IMSI {imsi}") from None

    def views(self) -> Mapping[str, View]:
        return {**super().views(), "phones": lambda: [{**phone.ue.describe(), "host": phone.host_kind} for phone in self.phones.values()],
                "usage": lambda: [{"imsi": phone.imsi, **phone.usage()} for phone in self.phones.values()]}

    def commands(self) -> Mapping[str, Command]:
        return {
            **super().commands(), "attach": self._attach, "detach": self._detach, "ping": self._ping, "udp": self._udp, "idle": self._idle,
            "host": self._host,
        }

    async def _attach(self, imsi: str, apn: str = "") -> object:
        ue = self.phone(imsi).ue
        result = await _possible(ue.attach(apn or None, max_attempts=1))
        return {"success": result.success, "ip": str(ue.ip or ""), "result": str(result), "attempts": result.attempts}

    async def _detach(self, imsi: str, switch_off: str = "no") -> object:
        result = await _possible(self.phone(imsi).ue.detach(switch_off=switch_off in ("yes", "true", "1")))
        return {"success": result.success}

    async def _ping(self, imsi: str, destination: str, count: str = "3") -> object:
        host = await self.phone(imsi).host()
        result = await host.ping(_ipv4(destination), count=_number("count", count, 1000))
        return {"sent": result.sent, "received": result.received, "text": str(result)}

    async def _udp(self, imsi: str, destination: str, port: str = str(UDP_ECHO_PORT), text: str = "epclab") -> object:
        host = await self.phone(imsi).host()
        try:
            answer = await udp_exchange(host, _ipv4(destination), _number("port", port, 65535), text.encode())
        except TimeoutError:
            raise LookupError(f"no answer from {destination}:{port}") from None
        return {"answer": answer.decode(errors="replace")}

    async def _host(self, imsi: str) -> object:
        """Where the phone's programs run, made if need be: for ``epclab ue exec``."""
        phone = self.phone(imsi)
        host = await phone.host()
        namespace = host.namespace if isinstance(host, NamespaceHost) else None
        return {
            "imsi": imsi, "ip": str(host.address.ip), "dns": [str(server) for server in phone.ue.dns_servers], "lives_in": phone.lives_in,
            "namespace": "" if namespace is None else namespace.path, "keeper_pid": 0 if namespace is None else namespace.keeper_pid,
        }

    async def _idle(self, imsi: str) -> object:
        """Release the radio connection, as after a while without traffic."""
        phone = self.phone(imsi)
        phone.ue.lose_radio()
        await asyncio.sleep(0)
        return {"connected": phone.ue.connected}


async def _possible(asked: Awaitable[Result]) -> Result:
    try:
        return await asked
    except ProcedureRunning as error:
        raise ValueError(str(error)) from None


def _ipv4(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        raise ValueError(f"destination: must be an IPv4 address, not {text!r}") from None


def _number(name: str, text: str, highest: int) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= highest:
        raise ValueError(f"{name}: must be a number from 1 to {highest}, not {text!r}")
    return number


class _HostsOnDemand:
    """Opens namespaces when the first phone needs one: most phones never do."""

    def __init__(self, kind: HostKind) -> None:
        self.kind = kind
        self.reason = "not needed so far"
        self._hosts: Hosts | None = None
        self._opening = asyncio.Lock()

    async def open(
        self, name: str, address: IPv4Interface, *, routes: Sequence[IPv4Network] = EVERYWHERE, mtu_octets: int = UE_MTU_OCTETS,
    ) -> IpHost:
        async with self._opening:
            if self._hosts is None:
                self._hosts = await open_hosts(self.kind)
                self.kind, self.reason = self._hosts.kind, self._hosts.reason
        return await self._hosts.open(name, address, routes=routes, mtu_octets=mtu_octets)

    async def close(self) -> None:
        if self._hosts is not None:
            await self._hosts.close()
