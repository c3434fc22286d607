"""Diameter sessions as both of their ends report them, so that somebody can compare."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnd:
    """One session with a peer as one node holds it: begun by itself, or by the peer that allocated its Session-Id (RFC 6733 clause 8.8).

    ``imsi`` is empty where the node does not know it (the application function). A subsession of S9 counts as a session of its own, with its
    number behind the Session-Id.
    """

    interface: str              # reference point: Gx, Gy, Rx, S9
    session_id: str             # as this node knows it: an agent that hides topology changes the host's name in it
    own: bool                   # True: this node allocated the Session-Id
    imsi: str = ""
    peer: str = ""              # Diameter identity of the other end, once it is known
    is_certain: bool = True     # False: nobody knows whether the other end has it, for it has never answered
