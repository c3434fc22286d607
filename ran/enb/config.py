"""The eNodeB's configuration file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from epc.node import NodeConfig, Section
from epc.node.config import Host, PlmnDigits, Port, Seconds
from epc.transport.interface import Address

S1AP_PORT = 36412       # TS 36.412 clause 7
AlgorithmNumber = Annotated[int, Field(ge=0, le=3)]


class MmePeer(Section):
    """An MME of the pool. The eNodeB connects to all of them and spreads its UEs by their capacities (TS 23.401 clause 4.3.7.2)."""

    host: Host
    port: Port = S1AP_PORT

    @property
    def address(self) -> Address:
        return Address(self.host, self.port)


class CellConfig(Section):
    cell_id: int = Field(default=1, ge=0, le=255, description="the cell within a macro eNodeB; a home eNodeB's only cell is 0")
    tac: int = Field(default=1, ge=0, le=0xFFFF, description="tracking area code")


class S1UserConfig(Section):
    """S1-U, the GTP-U side."""

    host: Host = Field(description="the address that the SGW sends downlink packets to")


class EnbTimers(Section):
    s1_setup_s: Seconds = Field(default=5.0, description="how long S1 SETUP RESPONSE is awaited")
    reconnect_s: Seconds = Field(default=1.0, description="first pause before a lost or refused MME is tried again; doubled each time")
    reconnect_limit_s: Seconds = Field(default=30.0, description="longest such pause; Time To Wait from the MME is obeyed whatever it is")
    connect_s: Seconds = Field(default=10.0, description="how long an SCTP association may take to come up")
    radio_s: Seconds = Field(default=5.0, description="how long the UE's answer on the radio is awaited")
    release_s: Seconds = Field(default=5.0, description="how long UE CONTEXT RELEASE COMMAND is awaited before the context is released without")
    reset_s: Seconds = Field(default=5.0, description="how long RESET ACKNOWLEDGE is awaited, then RESET is sent again")
    user_inactivity_s: Seconds | None = Field(default=None, description="without traffic for so long, ask the MME to release the UE; default: never")


class EnbConfig(NodeConfig):
    """An eNodeB with one or more cells of one PLMN or of several that share it."""

    enb_id: int = Field(ge=0, lt=1 << 28, description="eNB identity: 20 bits, of a home eNodeB 28")
    enb_type: Literal["macro", "home"] = "macro"
    plmn: PlmnDigits
    shared_plmns: Annotated[tuple[PlmnDigits, ...], Field(max_length=5)] = Field(default=(), description="further PLMNs that the cells broadcast")
    cells: Annotated[tuple[CellConfig, ...], Field(min_length=1, max_length=256)] = (CellConfig(),)
    mmes: Annotated[tuple[MmePeer, ...], Field(min_length=1, max_length=16)]
    s1_mme_host: Host | None = Field(default=None, description="local address of the associations; default: the system's choice")
    s1u: S1UserConfig
    default_paging_drx: Literal[32, 64, 128, 256] = 128
    eea: Annotated[tuple[AlgorithmNumber, ...], Field(min_length=1)] = Field(default=(2, 1, 3, 0), description="AS ciphering, most wanted first")
    eia: Annotated[tuple[AlgorithmNumber, ...], Field(min_length=1)] = Field(default=(2, 1, 3), description="AS integrity, most wanted first")
    max_ues: int = Field(default=100_000, ge=1, lt=1 << 24, description="UEs connected at the same time; more are rejected on the radio")
    timers: EnbTimers = EnbTimers()

    @model_validator(mode="after")
    def _identities_fit(self) -> EnbConfig:
        if self.enb_type == "macro" and self.enb_id >= 1 << 20:
            raise ValueError("the enb_id of a macro eNodeB has 20 bits, at most 1048575")
        if self.enb_type == "home" and [cell.cell_id for cell in self.cells] != [0]:
            raise ValueError("a home eNodeB has one cell, cell_id 0")
        if len({cell.cell_id for cell in self.cells}) != len(self.cells):
            raise ValueError("each cell needs a cell_id of its own")
        return self

    @property
    def plmns(self) -> tuple[str, ...]:
        return (self.plmn, *self.shared_plmns)

    @property
    def tacs(self) -> tuple[int, ...]:
        return tuple(sorted({cell.tac for cell in self.cells}))

    def cell_identity(self, cell: CellConfig) -> int:
        """The 28 bits of the E-UTRAN Cell Identity (TS 36.413 clause 9.2.1.38)."""
        return self.enb_id if self.enb_type == "home" else self.enb_id << 8 | cell.cell_id
