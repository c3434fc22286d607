"""Roaming: a subscriber of 001/01 switches on in Barcelona, at 214/07 (TS 23.401 clause 5.3.2.1 over S8 and S6a, GSMA IR.88)."""

from decimal import Decimal
from pathlib import Path

from epc.lab.scenario import Lab, scenario

IMSI = "001010000000001"
SETTLEMENT = Path(__file__).parent / "roaming-settlement.yaml"
CREDIT = Decimal(10)


@scenario(title="Roaming: Barcelona attaches, home decides, both get paid", topology="roaming.yaml")
async def roaming(lab: Lab) -> None:
    # Barcelona attaches
    phone = lab.phone(IMSI)
    await lab.attach(phone)
    lab.check_invariants()

    # what it sends and gets goes through home
    await lab.ping(phone, lab.server)
    await lab.exchange_udp(phone, lab.server, 7, b"hello from Barcelona")
    page = await lab.fetch(phone, "https://news.example/octets/200000")
    lab.check(page.ok and len(page.body) == 200_000, "200000 octets downloaded from the home operator's network")
    await lab.detach(phone)

    # both get paid: home by its subscriber, at once; Barcelona by home, whose own records agree with the invoice
    spent = CREDIT - Decimal((await lab.command("ocs-home", "balance", imsi=IMSI))["balance"])
    lab.check(spent > 0, f"the subscriber pays {spent} EUR to home, at the price for Barcelona")
    await lab.settlement(SETTLEMENT)
