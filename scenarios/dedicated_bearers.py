"""Dedicated bearers (TS 23.401 clause 5.4): one from the attach on, one that the PCRF pushes and takes back; packets take the right ones."""

import asyncio

from epc.lab.scenario import Lab, scenario

IMSI = "001010000000001"


@scenario(title="Dedicated bearers: voice at the attach, video by a push", topology="dedicated-bearers.yaml")
async def dedicated_bearers(lab: Lab) -> None:
    phone = lab.phone(IMSI)
    await lab.attach(phone)
    await _bearers(lab, 5, 6)

    lab.say("a datagram to port 7 is what the rule `voice` is about, a ping is not")
    await lab.exchange_udp(phone, lab.server, 7, b"hello from the phone")
    await lab.ping(phone, lab.server)
    voice, rest = _through(lab, "UDP"), _through(lab, "ICMP")
    lab.check(len(voice) == len(rest) == 2 and voice.isdisjoint(rest), "datagram and ping take different tunnels on S1-U, up and down")

    lab.say("the PCRF pushes the rule `video`, and takes it back")
    pcrf = lab.node("pcrf1").commands()
    await pcrf["install_rule"](rule="video", imsi=IMSI)
    await _bearers(lab, 5, 6, 7)
    lab.check_invariants()
    await pcrf["remove_rule"](rule="video", imsi=IMSI)
    await _bearers(lab, 5, 6)
    await lab.detach(phone)


async def _bearers(lab: Lab, *expected: int) -> None:
    """Phone and PGW agree on the bearers, soon."""
    ue = lab.phone(IMSI).ue
    for _ in range(50):
        await lab.settled()
        at_pgw = {end.ebi for end in lab.node("pgw1").tunnels() if end.ebi}
        if set(ue.active_bearers) == at_pgw == set(expected):
            break
        await asyncio.sleep(0.1)
    lab.check(set(ue.active_bearers) == at_pgw == set(expected), f"bearers of phone and PGW: {', '.join(map(str, ue.active_bearers))}")


def _through(lab: Lab, what: str) -> set[str]:
    """TEIDs on S1-U of packets of a kind."""
    return {str(row[1]) for event in lab.observer.events if event.interface == "S1-U" and event.name.startswith(what)
            for name, tree in event.trees if name == "GTP-U header" for row in tree}
