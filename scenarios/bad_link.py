"""An attach over bad links: lost and doubled messages on S11, a far HSS, a slow S1. It takes longer, and it works."""

from epc.lab.scenario import Lab, scenario

IMSI = "001010000000001"
ROUNDS = 3


@scenario(title="Bad links: the Attach bears loss, delay and duplication", topology="bad-link.yaml")
async def bad_link(lab: Lab) -> None:
    phone = lab.phone(IMSI)
    for _ in range(ROUNDS):
        await lab.attach(phone)
        lab.check_invariants()
        host = await phone.host()
        result = await host.ping(lab.server, count=5)
        lab.check(result.received == 5 and min(result.round_trips_s) >= 0.08, f"a ping takes 40 ms there and 40 ms back: {result}")
        await lab.detach(phone)
    lab.say("From now on every link is good again.")
    lab.repair()
    await lab.attach(phone)
    good = await (await phone.host()).ping(lab.server, count=5)
    lab.check(good.received == 5 and max(good.round_trips_s) < min(result.round_trips_s), f"and a ping as fast as ever: {good}")
    await lab.detach(phone)
