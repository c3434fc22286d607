"""The ladder diagram of a run: every message between the nodes in order, the ten steps of the Attach numbered, t1 to t8 where they appear."""

from epc.lab.ladder.diagram import render_line, render_text
from epc.lab.ladder.event import LadderEvent, Rung, TunnelSighting
from epc.lab.ladder.lifelines import Lifelines, NodePlace
from epc.lab.ladder.observer import LadderObserver

__all__ = ["LadderEvent", "LadderObserver", "Lifelines", "NodePlace", "Rung", "TunnelSighting", "render_line", "render_text"]
