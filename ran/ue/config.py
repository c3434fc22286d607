"""The phones of an eNodeB's configuration file: one entry a phone, or a range of phones that differ in their numbers only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from epc.node import Section
from epc.node.config import ImsiDigits
from epc.security.authentication import AuthenticationAlgorithm
from epc.security.milenage import Milenage
from epc.security.tuak import Tuak
from epc.security.usim import Usim
from epc.wire import nas
from epc.wire.identity import Imsi
from ran.ue.sim import Sim

Key = Annotated[str, StringConstraints(pattern=r"^([0-9a-fA-F]{32}|[0-9a-fA-F]{64})$")]
Octets16 = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{32}$")]
Octets32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$")]
AlgorithmNumber = Annotated[int, Field(ge=0, le=7)]

_PDN_TYPES = {"ipv4": nas.PdnType.IPV4, "ipv6": nas.PdnType.IPV6, "ipv4v6": nas.PdnType.IPV4V6}


class UeConfig(Section):
    """One phone, or ``count`` phones with consecutive IMSIs and IMEISVs and the same key."""

    imsi: ImsiDigits
    count: int = Field(default=1, ge=1, le=1_000_000, description="this many phones, IMSI and IMEISV counting up")
    algorithm: Literal["milenage", "tuak"] = "milenage"
    k: Key = Field(description="subscriber key, hexadecimal; 16 octets, with TUAK also 32")
    opc: Octets16 | None = Field(default=None, description="MILENAGE: OPc, or give op")
    op: Octets16 | None = None
    topc: Octets32 | None = Field(default=None, description="TUAK: TOPc, or give top")
    top: Octets32 | None = None
    tuak_iterations: int = Field(default=1, ge=1, le=255, description="TUAK: Keccak iterations")
    sqn: int = Field(default=0, ge=0, lt=1 << 48, description="the highest sequence number that the USIM has accepted")
    imeisv: Annotated[str, StringConstraints(pattern=r"^\d{16}$")] = "3520990017614823"
    apn: str | None = Field(default=None, min_length=1, max_length=100, description="asked for when attaching; default: the subscription's default")
    pdn_type: Literal["ipv4", "ipv6", "ipv4v6"] = "ipv4"
    eea: tuple[AlgorithmNumber, ...] = Field(default=(0, 1, 2, 3), description="ciphering algorithms the phone has")
    eia: tuple[AlgorithmNumber, ...] = Field(default=(1, 2, 3), description="integrity algorithms the phone has")

    @model_validator(mode="after")
    def _operator_constant_fits(self) -> UeConfig:
        given = {name for name in ("opc", "op", "topc", "top") if getattr(self, name) is not None}
        allowed = ("opc", "op") if self.algorithm == "milenage" else ("topc", "top")
        if len(given) != 1 or not given <= set(allowed):
            raise ValueError(f"{self.algorithm} needs exactly one of {' and '.join(allowed)}, and no other operator constant")
        if self.algorithm == "milenage" and len(self.k) != 32:
            raise ValueError("a key of MILENAGE has 16 octets")
        if len(str(int(self.imsi) + self.count - 1)) > len(self.imsi):
            raise ValueError("the range of IMSIs runs over their number of digits")
        if len(str(int(self.imeisv) + self.count - 1)) > 16:
            raise ValueError("the range of IMEISVs runs over 16 digits")
        return self

    def authentication_algorithm(self) -> AuthenticationAlgorithm:
        """f1 to f5* with this phone's key."""
        k = bytes.fromhex(self.k)
        if self.algorithm == "tuak":
            if self.topc is not None:
                return Tuak(k, bytes.fromhex(self.topc), iterations=self.tuak_iterations)
            return Tuak.with_top(k, bytes.fromhex(self.top or ""), iterations=self.tuak_iterations)
        if self.opc is not None:
            return Milenage(k, bytes.fromhex(self.opc))
        return Milenage.with_op(k, bytes.fromhex(self.op or ""))

    def sims(self) -> Iterator[tuple[Sim, str]]:
        """SIM and IMEISV of each phone."""
        algorithm = self.authentication_algorithm()
        for index in range(self.count):
            usim = Usim(algorithm)
            if self.sqn:
                usim.advance_to(self.sqn)
            yield Sim(imsi=Imsi(f"{int(self.imsi) + index:0{len(self.imsi)}d}"), usim=usim), f"{int(self.imeisv) + index:016d}"

    @property
    def capability(self) -> nas.UeNetworkCapability:
        return nas.UeNetworkCapability(eea=tuple(sorted(set(self.eea))), eia=tuple(sorted(set(self.eia))))

    @property
    def requested_pdn_type(self) -> nas.PdnType:
        return _PDN_TYPES[self.pdn_type]
