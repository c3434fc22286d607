"""Local breakout (TS 23.401 clause 4.3.8.1, TS 29.215): a roamer's traffic leaves in Barcelona, and the home PCRF decides all the same, over S9."""

from epc.lab.scenario import Lab, scenario

IMSI = "001010000000002"
NEWS, FACEBOOK = "https://news.example/", "https://facebook.example/"


@scenario(title="Local breakout: the traffic leaves in Barcelona, home decides", topology="roaming.yaml")
async def local_breakout(lab: Lab) -> None:
    phone = lab.phone(IMSI)
    await lab.attach(phone)
    lab.check_invariants()
    gateways = {row.label: row.allocated_by for row in lab.report.phones[IMSI].tunnels}
    lab.check(gateways["t5"] == "pgw-visited", f"the PDN gateway is {gateways['t5']}, and the address {phone.ue.ip} is Barcelona's")
    lab.check((await lab.fetch(phone, NEWS)).ok, f"{NEWS} is there")
    lab.check(not (await lab.fetch(phone, FACEBOOK, timeout_s=0.5)).ok, f"{FACEBOOK} is not: the home PCRF's rule, at the visited gateway")

    # home changes its mind: RAR over S9, then over Gx
    await lab.command("pcrf-home", "remove_rule", rule="no-facebook", imsi=IMSI)
    lab.check((await lab.fetch(phone, FACEBOOK)).ok, f"{FACEBOOK} is there after a policy push")
    await lab.detach(phone)
