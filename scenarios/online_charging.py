"""Online charging (TS 32.251 clause 5.3, RFC 8506): money ends in the middle of a download, a top-up brings the rest of it, and the books balance."""

import asyncio
from decimal import Decimal
from typing import Any, cast

from epc.lab.scenario import Lab, scenario

IMSI, PENNILESS = "001010000000001", "001010000000002"
FILE = "http://files.example/octets/"
OPENING, TOP_UP, PRICE_PER_OCTET = Decimal("0.04"), Decimal("0.05"), Decimal("0.01") / 1_000_000
QUOTA_OCTETS, CREDIT_OCTETS = 1_000_000, 4_000_000
MILLIONTH = Decimal("0.000001")


@scenario(title="Online charging: four million octets of credit, and a top-up", topology="online-charging.yaml")
async def online_charging(lab: Lab) -> None:
    # nobody without credit gets in
    refused = await lab.phone(PENNILESS).ue.attach(max_attempts=1)
    lab.check(not refused.success, f"IMSI {PENNILESS} has no credit and is refused: {refused}")

    # a quota at a time
    phone = lab.phone(IMSI)
    await lab.attach(phone)
    page = await lab.fetch(phone, FILE + "2000000")
    lab.check(page.ok and len(page.body) == 2_000_000, "two million octets downloaded")
    shown = await lab.command("ocs1", "balance", imsi=IMSI)
    lab.check(Decimal(shown["balance"]) < OPENING and Decimal(shown["reserved"]) > 0, f"{shown['balance']} EUR left, {shown['reserved']} reserved")

    # the credit ends in the middle of a download
    download = asyncio.create_task(lab.fetch(phone, FILE + "3000000", timeout_s=60))
    while charged(lab)["stage"] != "blocked":                   # noqa: ASYNC110  a scenario looks at nodes as people do
        await asyncio.sleep(0.05)
    forwarded = charged(lab)["used_octets"]
    await asyncio.sleep(1)
    lab.check(not download.done() and charged(lab)["used_octets"] == forwarded, f"the download stands still after {forwarded} octets of traffic")
    lab.check(forwarded - CREDIT_OCTETS < QUOTA_OCTETS, "it stopped within one quota of the end of the credit")
    lab.check((await lab.fetch(phone, "http://top-up.example/")).ok, "the portal is free of charge")

    # and goes on after a top-up
    told = await lab.command("ocs1", "top_up", imsi=IMSI, amount=str(TOP_UP), reference="voucher-1")
    lab.check(told["gateways_told"] == 1, "the OCS tells the PGW of the top-up")
    page = await download
    lab.check(page.ok and len(page.body) == 3_000_000, "the download goes on to its end")
    await lab.settled()
    forwarded = charged(lab)["used_octets"]
    await lab.detach(phone)
    await lab.settled()

    # what was forwarded, what was reported and what was paid
    entries = await lab.command("ocs1", "ledger", imsi=IMSI, last="1000")
    octets = sum(entry.get("octets", 0) for entry in entries)
    lab.check(octets == forwarded, f"the PGW forwarded and the OCS debited {octets} octets")
    balance = Decimal((await lab.command("ocs1", "balance", imsi=IMSI))["balance"])
    due = octets * PRICE_PER_OCTET
    lab.check(0 <= balance - (OPENING + TOP_UP - due) < MILLIONTH, f"{OPENING} and {TOP_UP} EUR less {due} EUR leave {balance} EUR")
    lab.check((await lab.command("ocs1", "audit"))["wrong"] == [], "the books are in order")


def charged(lab: Lab) -> dict[str, Any]:
    """What the PGW has measured of the rating group that costs money, and how it treats it."""
    [session] = cast(list[dict[str, Any]], lab.node("pgw1").views()["sessions"]())
    return next(each for each in session["charged"] if each["rating_group"] == 10)
