"""MME: mobility management of TS 23.401 and TS 24.301 (release 16), S1AP of TS 36.413, S11 of TS 29.274, S6a of TS 29.272.

``attach`` is the place to begin reading; each procedure has the file of its name. ``nas_reception`` and ``s1_association`` lead messages to
them, ``ue_context`` is what they work on, ``s11`` and ``s6a`` whom they ask.
"""

from epc.mme.config import MmeConfig
from epc.mme.node import Mme

__all__ = ["Mme", "MmeConfig"]
