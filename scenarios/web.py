"""Two phones on the web: names, HTTP and HTTPS through the tunnels, and a program of this machine run as one of them."""

from epc.dataplane.services.client import Failure
from epc.lab.scenario import Lab, scenario

IMSIS = ("001010000000001", "001010000000002")
PROGRAM = ("python3", "-c", "import urllib.request; print(urllib.request.urlopen('http://www.example.test/').read().decode(), end='')")


@scenario(title="Phones on the web: DNS, HTTP and HTTPS through the tunnels", topology="web.yaml")
async def web(lab: Lab) -> None:
    for phone in map(lab.phone, IMSIS):
        await lab.attach(phone)
        lab.check(bool(phone.ue.dns_servers), f"the network told the phone its name server: {', '.join(map(str, phone.ue.dns_servers))}")
        names = await lab.resolve(phone, "photos.social.example")
        lab.check(list(map(str, names)) == ["10.200.0.3"], "a name below a wildcard has its address")
        for scheme in ("http", "https"):
            page = await lab.fetch(phone, f"{scheme}://www.example.test/")
            lab.check(page.text == "Welcome\n", f"{scheme}: the page came whole, from {page.address}")
        volume = await lab.fetch(phone, "https://photos.social.example/octets/200000")
        lab.check(len(volume.body) == 200_000, "200 kB came down the bearer")
        nowhere = await lab.fetch(phone, "https://nowhere.example/")
        lab.check(nowhere.error is Failure.NO_SUCH_NAME, "a name that nobody has is no page")
    phone = lab.phone(IMSIS[0])
    if phone.host_kind == "namespace":
        result = await lab.run_as(phone, *PROGRAM)
        lab.check((result.status, result.text) == (0, "Welcome\n"), "a program of this machine, run as the phone, sees the same page")
    for phone in map(lab.phone, IMSIS):
        await lab.detach(phone)
