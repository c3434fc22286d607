"""Roaming: a subscriber of 001/01 switches on in Barcelona, at 214/07 (TS 23.401 clause 5.3.2.1 over S8 and S6a, GSMA IR.88)."""

from pathlib import Path

from epc.lab.scenario import Lab, scenario

IMSI = "001010000000001"


@scenario(title="Roaming: Barcelona attaches, home decides", topology="roaming.yaml")
async def roaming(lab: Lab) -> None:
    phone = lab.phone(IMSI)
    await lab.attach(phone)
    lab.check_invariants()
    await lab.ping(phone, lab.server)
    await lab.exchange_udp(phone, lab.server, 7, b"hello from Barcelona")
    await lab.detach(phone)
    await lab.settlement(Path(__file__).parent / "roaming-settlement.yaml")
