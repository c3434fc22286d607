"""The Attach (TS 23.401 clause 5.3.2.1): one phone attaches, pings, exchanges a datagram, detaches."""

from epc.lab.scenario import Lab, scenario

IMSI = "001010000000001"


@scenario(title="LTE Attach: one phone, ten steps, eight tunnels", topology="attach.yaml")
async def attach(lab: Lab) -> None:
    phone = lab.phone(IMSI)
    await lab.attach(phone)
    lab.check_invariants()
    await lab.ping(phone, lab.server)
    await lab.exchange_udp(phone, lab.server, 7, b"hello from the phone")
    await lab.detach(phone)
