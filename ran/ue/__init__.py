"""UE: USIM, NAS for EPS (TS 24.301 release 16), and the packets of its user. See :class:`ran.ue.ue.Ue`."""

from ran.ue.behaviour import Behaviour
from ran.ue.config import UeConfig
from ran.ue.sim import Sim
from ran.ue.state import EmmState, EmmSubstate, PdnConnection, Result, UpdateStatus
from ran.ue.ue import ProcedureRunning, Ue

__all__ = ["Behaviour", "EmmState", "EmmSubstate", "PdnConnection", "ProcedureRunning", "Result", "Sim", "Ue", "UeConfig", "UpdateStatus"]
