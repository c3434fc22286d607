"""A call gets its bearer: an application asks for it over Rx, the PCRF decides, the PGW sets it up (TS 29.213 clause 4.3.1)."""

from epc.lab.scenario import Lab, scenario
from epc.wire.diameter.policy import FlowStatus
from epc.wire.diameter.rx import SpecificAction

IMSI = "001010000000001"


@scenario(title="A call: an application asks the PCRF for a bearer, puts it on hold, gives it back", topology="voice-call.yaml")
async def voice_call(lab: Lab) -> None:
    phone = lab.phone(IMSI)
    await lab.attach(phone)
    af = await lab.application()

    lab.say("the application asks for 64 kbit/s of audio between the phone and port 7 of the server")
    call = await af.request_bearer(str(phone.ue.ip), media="audio", server=f"{lab.server}:7", ul_bps=64_000, dl_bps=64_000)
    await call.told(SpecificAction.INDICATION_OF_SUCCESSFUL_RESOURCES_ALLOCATION)
    await lab.settled()
    [connection] = phone.ue.pdn_connections.values()
    lab.check([bearer.qos.qci for bearer in connection.dedicated.values()] == [1], "a dedicated bearer of QCI 1 stands")
    await lab.exchange_udp(phone, lab.server, 7, b"hello on a bearer of its own")
    lab.check_invariants()

    lab.say("on hold: the gates close, the bearer stays")
    await call.set_gates(FlowStatus.DISABLED)
    await lab.settled()
    await lab.ping(phone, lab.server)
    await call.set_gates(FlowStatus.ENABLED)
    await lab.settled()
    await lab.exchange_udp(phone, lab.server, 7, b"hello again")

    await call.release()
    await lab.settled()
    lab.check(not connection.dedicated, "the call is over, and its bearer is gone")
    await lab.detach(phone)
