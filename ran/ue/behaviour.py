"""How a UE may misbehave, for tests of the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from epc.wire.nas import NasMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """Switches; the defaults are a UE that does as it should. A scenario may give a UE another behaviour at any time.

    ``silent_on`` names downlink messages that the UE does not answer, as if they had never arrived: ``{nas.AuthenticationRequest}``.
    ``intercept`` is called with every downlink message that passed the security checks, and takes it away by returning true; it may
    call the UE, for instance ``ue.send_emm(...)`` or ``asyncio.create_task(ue.detach())``.

    A wrong key needs no switch: give the UE another one, or another ``usim`` (``ue.sim.usim = Usim(Milenage(...))``). Nor does a
    sequence number out of range: ``ue.sim.usim.advance_to(sqn)``.
    """

    silent_on: frozenset[type[NasMessage]] = frozenset()
    intercept: Callable[[NasMessage], bool] | None = None
    wrong_res: bool = False                 # a RES that differs from XRES in its last bit
    refuse_security_mode: bool = False      # answers SECURITY MODE COMMAND with SECURITY MODE REJECT #24
    refuse_as_security: bool = False        # answers RRC's SecurityModeCommand with failure
    refuse_radio_bearers: bool = False      # cannot comply with RRC's reconfiguration
    refuse_dedicated_bearers: int | None = None     # ESM cause that answers ACTIVATE DEDICATED EPS BEARER CONTEXT REQUEST
    refuse_modifications: int | None = None         # ESM cause that answers MODIFY EPS BEARER CONTEXT REQUEST
    re_attach: bool = True                  # attaches again when the network asks for it


CORRECT = Behaviour()
