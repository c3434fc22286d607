"""Online charging (TS 32.251 clause 5.3, RFC 8506): money ends in the middle of a transfer, a top-up lets it go on, and the books balance."""

from decimal import Decimal
from typing import Any, cast

from epc.dataplane.ip_endpoint import udp_exchange
from epc.lab.scenario import Lab, scenario
from ran.phone import Phone

IMSI, PENNILESS = "001010000000001", "001010000000002"
PORTAL = "10.200.0.9"
OPENING, TOP_UP, PRICE_PER_OCTET = Decimal("0.004"), Decimal("0.005"), Decimal("0.01") / 1_000_000
QUOTA_OCTETS, CREDIT_OCTETS = 100_000, 400_000
PACKET_OCTETS, IP_AND_UDP_HEADER = 1000, 28
MILLIONTH = Decimal("0.000001")


@scenario(title="Online charging: 400 000 octets of credit, and a top-up", topology="online-charging.yaml")
async def online_charging(lab: Lab) -> None:
    # nobody without credit gets in
    refused = await lab.phone(PENNILESS).ue.attach(max_attempts=1)
    lab.check(not refused.success, f"IMSI {PENNILESS} has no credit and is refused: {refused}")

    # a quota at a time
    phone = lab.phone(IMSI)
    await lab.attach(phone)
    lab.check(await transfer(lab, phone, 100) == 100, "a hundred packets there and back")
    shown = await lab.command("ocs1", "balance", imsi=IMSI)
    lab.check(Decimal(shown["balance"]) < OPENING and Decimal(shown["reserved"]) > 0, f"{shown['balance']} EUR left, {shown['reserved']} reserved")

    # the credit ends in the middle of a transfer
    done = await transfer(lab, phone, 200)
    forwarded = charged(lab)["used_octets"]
    lab.check(0 < done < 200 and charged(lab)["stage"] == "blocked", f"the transfer stops after {done} of 200 packets: {forwarded} octets in all")
    lab.check(0 <= forwarded - CREDIT_OCTETS < QUOTA_OCTETS, "that is within one quota of the credit")
    await lab.ping(phone, PORTAL, count=1)

    # and goes on after a top-up
    told = await lab.command("ocs1", "top_up", imsi=IMSI, amount=str(TOP_UP), reference="voucher-1")
    lab.check(told["gateways_told"] == 1, "the OCS tells the PGW of the top-up")
    await lab.settled()
    rest = 200 - done
    lab.check(await transfer(lab, phone, rest) == rest, f"the other {rest} packets follow")
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


async def transfer(lab: Lab, phone: Phone, packets: int) -> int:
    """Packets to the echo server one by one; how many came back before one did not."""
    host = await phone.host()
    payload = bytes(PACKET_OCTETS - IP_AND_UDP_HEADER)
    for number in range(packets):
        try:
            await udp_exchange(host, lab.server, 7, payload)
        except TimeoutError:
            return number
    return packets


def charged(lab: Lab) -> dict[str, Any]:
    """What the PGW has measured of the rating group that costs money, and how it treats it."""
    [session] = cast(list[dict[str, Any]], lab.node("pgw1").views()["sessions"]())
    return next(each for each in session["charged"] if each["rating_group"] == 10)
