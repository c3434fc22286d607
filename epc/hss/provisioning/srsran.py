"""``user_db.csv`` of srsRAN 4G's EPC: Name,Auth,IMSI,Key,OP_Type,OP/OPc,AMF,SQN,QCI,IP_alloc; lines that begin with # are comments.

That file knows one PDN connection a subscriber and no APN name, bit rates or roaming; those take the defaults, and
``apn`` names the APN. The SQN in it is the next one to use, ours is the last one used.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import TextIO

from epc.hss.provisioning import fields
from epc.hss.provisioning.problems import ProvisioningError
from epc.hss.store import Algorithm, ApnConfiguration, Subscriber
from epc.security.eps_aka import next_sqn

COLUMNS = ("Name", "Auth", "IMSI", "Key", "OP_Type", "OP/OPc", "AMF", "SQN", "QCI", "IP_alloc")


def read_user_db(lines: Iterable[str], name: str, *, apn: str = "internet") -> Iterator[Subscriber]:
    """All subscribers of the file. Raises :class:`ProvisioningError` with every wrong line, before the first subscriber."""
    subscribers: list[Subscriber] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(COLUMNS):
            problems.append(f"{name}:{number}: {len(cells)} columns; needed: {','.join(COLUMNS)}")
            continue
        try:
            subscribers.append(_read(cells, apn))
        except fields.FieldError as error:
            problems.append(f"{name}:{number}: column {error}")
    if problems:
        raise ProvisioningError(problems)
    return iter(subscribers)


def _read(cells: list[str], apn: str) -> Subscriber:
    _, auth, imsi, key, op_type, op, amf, sqn, qci, ip_alloc = cells
    if auth.lower() != "mil":
        fields.fail("Auth", auth, "mil (the XOR test algorithm of TS 34.108 is not one of this HSS)")
    if op_type.lower() not in ("op", "opc"):
        fields.fail("OP_Type", op_type, "op, opc")
    is_op = op_type.lower() == "op"
    k = fields.parse_hex(key, "Key", 16)
    fields.parse_hex(op, "OP/OPc", 16)
    secrets = fields.parse_secrets(Algorithm.MILENAGE, k.hex(), "" if is_op else op, op if is_op else "")
    configuration = ApnConfiguration(
        context_id=1, apn=fields.parse_apn_name(apn, "apn"), qci=fields.parse_number(qci, "QCI", 1, 254),
        static_ipv4=None if ip_alloc.lower() == "dynamic" else fields.parse_static_address(ip_alloc, "IP_alloc", 4))
    return Subscriber(
        imsi=fields.parse_imsi(imsi, "IMSI"), k=secrets.k, opc=secrets.opc, op=secrets.op, amf=fields.parse_hex(amf, "AMF", 2),
        sqn=fields.parse_sqn(sqn, "SQN"), apns=(configuration,))


def write_user_db(subscribers: Iterable[Subscriber], out: TextIO) -> int:
    """Returns how many were written; raises :class:`ProvisioningError` at one that the format cannot hold."""
    out.write(f"# {','.join(COLUMNS)}\n")
    writer = csv.writer(out, lineterminator="\n")
    number = 0
    for number, subscriber in enumerate(subscribers, 1):
        if subscriber.algorithm is not Algorithm.MILENAGE:
            raise ProvisioningError([f"subscriber {subscriber.imsi}: user_db.csv has no {subscriber.algorithm.value}"])
        default = next((apn for apn in subscriber.apns if apn.context_id == subscriber.default_context_id), None)
        writer.writerow((
            f"ue{number}", "mil", subscriber.imsi, subscriber.k.hex(), "op" if subscriber.op else "opc", (subscriber.op or subscriber.opc).hex(),
            subscriber.amf.hex(), f"{next_sqn(subscriber.sqn):012x}", default.qci if default else 9, (default and default.static_ipv4) or "dynamic"))
    return number
