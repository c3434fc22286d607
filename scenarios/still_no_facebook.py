"""Still no Facebook: home's policy holds in Barcelona, by packet filter and by what applications call themselves (TS 23.203 clause 6.2.2.5)."""

from pathlib import Path
from typing import Any, cast

from epc.lab.scenario import Lab, scenario

IMSI = "001010000000001"
NEWS, FACEBOOK, CASINO, TRACKER = "news.example", "facebook.example", "casino.example", "tracker.example"
SETTLEMENT = Path(__file__).parent / "roaming-settlement.yaml"
FACEBOOK_ADDRESS = "10.200.0.3"
PATIENCE_S = 0.5


@scenario(title="Still no Facebook: home's policy in Barcelona", topology="roaming.yaml")
async def still_no_facebook(lab: Lab) -> None:
    phone = lab.phone(IMSI)
    await lab.attach(phone)

    # what is allowed, and what is not
    for scheme, how in (("https", "its TLS server name"), ("http", "its HTTP host")):
        lab.check((await lab.fetch(phone, f"{scheme}://{NEWS}/")).ok, f"{scheme}://{NEWS} is there")
        page = await lab.fetch(phone, f"{scheme}://{FACEBOOK}/", address=FACEBOOK_ADDRESS, timeout_s=PATIENCE_S)
        lab.check(not page.ok, f"{scheme}://{FACEBOOK} is not, even to a phone that knows its address: by {how}")
    page = await lab.fetch(phone, f"https://{FACEBOOK}/", timeout_s=PATIENCE_S)
    lab.check(not page.ok, f"https://{FACEBOOK} is not, once the PGW has seen the DNS tell its address: not even a connection")
    page = await lab.fetch(phone, f"http://{TRACKER}/", timeout_s=PATIENCE_S)
    lab.check(not page.ok, f"http://{TRACKER} is not: by its address, a packet filter")
    names = [bool(await lab.resolve(phone, name, timeout_s=PATIENCE_S)) for name in (FACEBOOK, CASINO)]
    lab.check(names == [True, False], f"{CASINO} is not even a name: DNS queries for it go nowhere")
    before = counted(lab)
    lab.check(before["seen"] == {NEWS: 2}, f"web servers saw {before['seen']}")
    lab.check(before["blocked"] > 0, f"the home PGW blocked {before['blocked']} packets")

    # home changes its mind
    await lab.command("pcrf-home", "remove_rule", rule="no-facebook", imsi=IMSI)
    for scheme in ("https", "http"):
        lab.check((await lab.fetch(phone, f"{scheme}://{FACEBOOK}/")).ok, f"{scheme}://{FACEBOOK} is there after a policy push (RAR)")
    lab.check(not (await lab.fetch(phone, f"http://{TRACKER}/", timeout_s=PATIENCE_S)).ok, f"http://{TRACKER} is still not")
    after = counted(lab)
    lab.check(after["seen"].get(FACEBOOK, 0) == 2 and after["blocked"] > before["blocked"], f"web servers saw {after['seen']}")
    await lab.detach(phone)

    # Barcelona has carried what home then blocked, and invoices it: home finds the difference
    await lab.settlement(SETTLEMENT, agrees=False)


def counted(lab: Lab) -> dict[str, Any]:
    """Requests by web site, and packets that a rule stopped, at the home PGW."""
    views = lab.node("pgw-home").views()
    (sgi,), user_plane = cast(Any, views["sgi"]()), cast(Any, views["userplane"]())
    return {"seen": sgi["web_requests"], "blocked": user_plane["drops"].get("gate_closed", 0)}
