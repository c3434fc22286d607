"""Writes the tables and the message classes from pycrate's S1AP: ``python -m epc.wire.s1ap.generate``.

Needed when pycrate's S1AP moves to a later release of TS 36.413, or when the shape of the generated classes changes.
The result is checked in; a test compares it with what this module would write.
"""

from __future__ import annotations

import pathlib
import pprint
import re
import textwrap
from collections.abc import Iterable, Iterator

from epc.wire.aper.build import Row, Type
from epc.wire.aper.schema import Schema
from epc.wire.s1ap.naming import class_name, field_name

HERE = pathlib.Path(__file__).parent

# TS 36.413 clause 8 orders the procedures in these groups; a node imports the groups that it uses.
MESSAGE_GROUPS = {
    "interface": ("Management of the S1 interface, TS 36.413 clause 8.7.", (
        "S1Setup", "Reset", "ErrorIndication", "ENBConfigurationUpdate", "MMEConfigurationUpdate", "Overload", "ENBCPRelocation", "MMECPRelocation",
        "PrivateMessage")),
    "context": ("UE contexts, NAS transport and paging, TS 36.413 clauses 8.3, 8.5, 8.6 and 8.9.", (
        "InitialContextSetup", "UEContextRelease", "UEContextModification", "InitialUEMessage", "DownlinkNASTransport", "UplinkNASTransport",
        "NASNonDelivery", "NASDelivery", "RerouteNAS", "Paging", "UECapabilityInfo", "UERadioCapability", "UEContextSuspend", "UEContextResume",
        "ConnectionEstablishment", "RetrieveUEInformation", "UEInformationTransfer")),
    "bearers": ("E-RAB management, TS 36.413 clause 8.2.", ("E-RAB",)),
    "handover": ("Handover, TS 36.413 clause 8.4.", (
        "Handover", "PathSwitch", "ENBStatusTransfer", "MMEStatusTransfer", "ENBEarlyStatus", "MMEEarlyStatus")),
    "further": ("Trace, location, warnings, LPPa, cdma2000 and configuration transfer, TS 36.413 clauses 8.8 and 8.10 to 8.21.", ("",)),
}
IE_GROUPS = {
    "ies_measurement": ("Trace, MDT, QoE measurement, self-optimisation and interface configuration transfer.", re.compile(
        r"MDT|QMC|Meas|Bluetooth|WLAN|Sensor|MBSFN|SON|RLF|Muting|Synchronis|Stratum|Threshold|^M\d|Links-to-log|Logg|Report(Amount|Interval|Area)|"
        r"Hysteresis|TimeToTrigger|Event|Trace|Privacy|X2|EN-DC|Interfaces|InterSystem|TimeBased|Listening|ssb|SSB")),
    "ies_location": ("Warnings, location, paging assistance and IoT.", re.compile(
        r"EAI|Broadcast|Cancel|Warning|EmergencyArea|Restart|PWS|ECGI|Recommended|Assistance|PagingAttempt|NextPaging|NB-IoT|eDRX|PagingTime|Expected|"
        r"Subscription|Communication|Differentiation|LTE-NTN|CELevel|CE-|WUS|PagingProb|RIM|RAC|GERAN|cdma|Cdma|Inter-?[sS]ystem|"
        r"UE-RetentionInformation|Coverage|Battery|Traffic|Stationary|PeriodicComm|DayofWeek|Concurrent|KillAll|UserLocation|CNType|PSCell|"
        r"SecondaryRAT|E-RABUsage")),
    "ies_mobility": ("Handover, path switch, suspend and resume, V2X and proximity services.", re.compile(
        r"HO(Req|Cmd|Info|Interval)|Handover(Type|Flag)|Target|Source|Forwarding|Switched|Updated|Status|COUNT|DAPS|PDCP|LastVisited|Discarding|NgRan|NG-|GNB|"
        r"E-RABAdmitted|E-RABDataForw|ModInd|ModConf|Resume|PC5|V2X|ProSe|VehicleUE|PedestrianUE|RAN-?NODE|SRVCC|ContextatSource|SecurityContext|"
        r"SecurityResult|CSGMembership|MMEPaging|FiveGS|Cell-?Size|CellType|RNC|E-RABInformation|NRCGI|NR-CGI|^CGI$")),
    "ies": ("The information elements that interface management, attach, service request and bearers use.", re.compile("")),
}
STANDALONE = ("SourceeNB-ToTargeteNB-TransparentContainer", "TargeteNB-ToSourceeNB-TransparentContainer")

_CLAUSES = {
    "9.1.3": """E-RABSetupRequest E-RABSetupResponse E-RABModifyRequest E-RABModifyResponse E-RABReleaseCommand E-RABReleaseResponse
        E-RABReleaseIndication E-RABModificationIndication E-RABModificationConfirm""",
    "9.1.4": """InitialContextSetupRequest - InitialContextSetupResponse InitialContextSetupFailure UEContextReleaseRequest UEContextReleaseCommand
        UEContextReleaseComplete UEContextModificationRequest UEContextModificationResponse UEContextModificationFailure
        UERadioCapabilityMatchRequest UERadioCapabilityMatchResponse""",
    "9.1.5": """HandoverRequired HandoverCommand HandoverPreparationFailure HandoverRequest HandoverRequestAcknowledge HandoverFailure HandoverNotify
        PathSwitchRequest PathSwitchRequestAcknowledge PathSwitchRequestFailure HandoverCancel HandoverCancelAcknowledge ENBStatusTransfer
        MMEStatusTransfer""",
    "9.1.7": "InitialUEMessage DownlinkNASTransport UplinkNASTransport NASNonDeliveryIndication",
    "9.1.8": """Reset ResetAcknowledge ErrorIndication S1SetupRequest S1SetupResponse S1SetupFailure ENBConfigurationUpdate
        ENBConfigurationUpdateAcknowledge ENBConfigurationUpdateFailure MMEConfigurationUpdate MMEConfigurationUpdateAcknowledge
        MMEConfigurationUpdateFailure OverloadStart OverloadStop""",
}
CLAUSE = {name: f"{clause}.{number}" for clause, names in _CLAUSES.items() for number, name in enumerate(names.split(), 1)}
CLAUSE["Paging"] = "9.1.6"

HEADER = """\
\"\"\"{title} Generated by ``epc.wire.s1ap.generate``; do not edit.\"\"\"
# ruff: noqa: E501, I001, RUF022, RUF100

from __future__ import annotations

"""


def _size(low: int | None, high: int | None) -> str:
    if low is None:
        return ""
    return f" (SIZE {low})" if low == high else f" (SIZE {low}..{high})"


class Generator:
    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.group_of: dict[str, str] = {}
        for name in schema.messages:
            self.group_of[name] = next(g for g, (_, prefixes) in MESSAGE_GROUPS.items() if name.startswith(prefixes))
        for name in schema.types:
            self.group_of[name] = next(g for g, (_, pattern) in IE_GROUPS.items() if pattern.search(name))

    # --- types of fields ---------------------------------------------------------------------------------------------

    def annotation(self, kind: Type) -> str:
        if isinstance(kind, str):
            return class_name(kind)
        match kind[0]:
            case "int":
                return "int"
            case "bool":
                return "bool"
            case "null":
                return "None"
            case "enum":
                return "Literal[" + ", ".join(f'"{value}"' for value in (*kind[1], *(kind[2] or ()))) + "]"
            case "bits":
                return "BitString"
            case "octets":
                return "bytes"
            case "text":
                return "str"
            case "list":
                element = kind[4]
                if isinstance(element, tuple) and element[0] == "single":
                    return f"tuple[{' | '.join(self.annotation(row[4]) for row in element[1])}, ...]"
                return f"tuple[{self.annotation(element)}, ...]"
            case "single":
                return " | ".join([*(self.annotation(row[4]) for row in kind[1]), "UnknownIE"])
            case "private":
                return "tuple[PrivateIE, ...]"
        raise NotImplementedError(kind)

    @staticmethod
    def remark(kind: Type) -> str:
        """The ASN.1 of a field whose Python type does not say it."""
        if isinstance(kind, str):
            return ""
        match kind[0]:
            case "int":
                return f"INTEGER ({kind[1]}..{kind[2]}{', ...' if kind[3] else ''})"
            case "bits":
                return f"BIT STRING{_size(kind[1], kind[2])}"
            case "octets":
                return f"OCTET STRING{_size(kind[1], kind[2])}"
            case "text":
                return f"{'UTF8String' if kind[1] == 'utf-8' else 'PrintableString'}{_size(kind[2], kind[3])}"
            case "list":
                return f"{kind[1]} to {kind[2]} of them"
        return ""

    def references(self, kind: Type) -> Iterator[str]:
        if isinstance(kind, str):
            yield kind
        elif kind[0] == "list":
            yield from self.references(kind[4])
        elif kind[0] in ("single", "extensions"):
            for row in kind[1]:
                yield from self.references(row[4])
        elif kind[0] == "seq":
            for _, _, component in kind[2]:
                yield from self.references(component)
        elif kind[0] == "choice":
            for _, alternative in (*kind[2], *kind[3]):
                yield from self.references(alternative)

    # --- classes -----------------------------------------------------------------------------------------------------

    def _field(self, name: str, kind: Type, optional: bool, note: str = "") -> str:
        remark = "; ".join(part for part in (self.remark(kind), note) if part)
        line = f"    {name}: {self.annotation(kind)}" + (" | None = None" if optional else "")
        return "\n".join(_wrapped(f"{line}{'  # ' + remark if remark else ''}"))

    def _row_fields(self, rows: Iterable[Row]) -> list[str]:
        return [
            self._field(name, kind, presence != "mandatory", "conditional" if presence == "conditional" else "")
            for _, _, presence, name, kind in rows]

    def structure(self, name: str, kind: tuple[str, bool, tuple[tuple[str, bool, Type], ...]]) -> str:
        lines = []
        unknown = False
        for field, optional, component in kind[2]:
            if isinstance(component, tuple) and component[0] == "extensions":
                lines += [self._field(f, k, True) for _, _, _, f, k in component[1]]
                unknown = True
            else:
                lines.append(self._field(field, component, optional))
        if unknown:
            lines.append("    unknown: tuple[UnknownIE, ...] = ()")
        # A class without docstring gets its signature as one, which would be half of the time that importing the module takes.
        head = ["@dataclass(frozen=True, slots=True, kw_only=True)", f"class {class_name(name)}:", f'    """SEQUENCE {name}."""', ""]
        return "\n".join([*head, *lines])

    def choice(self, name: str, kind: tuple[str, bool, tuple[tuple[str, Type], ...], tuple[tuple[str, Type], ...]]) -> str:
        alternatives = (*kind[2], *kind[3])
        names = ", ".join(f'"{a}"' for a, _ in alternatives)
        values = sorted(dict.fromkeys(self.annotation(t) for _, t in alternatives), key="None".__eq__)
        text = " | ".join(values)
        remarks = [f"{a} is {self.remark(t)}" for a, t in alternatives if self.remark(t)]
        doc = f"CHOICE {name}" + (": " + "; ".join(remarks) if remarks else "") + "."
        fill = textwrap.fill(doc, 140, subsequent_indent="    ", initial_indent="    ").strip()
        return "\n".join([
            "@dataclass(frozen=True, slots=True)", f"class {class_name(name)}:", f'    """{fill}"""', "",
            *_wrapped(f"    choice: Literal[{names}]"), *_wrapped(f"    value: {text}")])

    def enumeration(self, name: str, kind: tuple[str, tuple[str, ...], tuple[str, ...] | None]) -> str:
        names = ", ".join(f'"{value}"' for value in (*kind[1], *(kind[2] or ())))
        return "\n".join(_wrapped(f"{class_name(name)} = Literal[{names}]"))

    def message(self, name: str) -> str:
        code, criticality, kind, rows = self.schema.messages[name]
        clause = CLAUSE.get(name, "9.1")
        lines = [
            "@dataclass(frozen=True, slots=True, kw_only=True)",
            f"class {class_name(name)}(Message):",
            f'    """TS 36.413 clause {clause}."""',
            "",
            f"    procedure_code: ClassVar[int] = {code}",
            f'    criticality: ClassVar[Criticality] = "{criticality}"',
            f'    kind: ClassVar[Kind] = "{kind}"',
            ""]
        if rows is None:
            lines.append("    private_ies: tuple[PrivateIE, ...]")
        else:
            lines += [*self._row_fields(rows), "    unknown: tuple[UnknownIE, ...] = ()"]
        return "\n".join(lines)

    # --- files -------------------------------------------------------------------------------------------------------

    def _imports(self, group: str, names: Iterable[str], body: str) -> str:
        typing = [word for word in ("ClassVar", "Literal") if re.search(rf"\b{word}\b", body)]
        values = [word for word in ("BitString", "Criticality", "PrivateIE", "UnknownIE") if re.search(rf"\b{word}\b", body)]
        if "class Criticality" in body or "\nCriticality = " in body:
            values.remove("Criticality")
        foreign: dict[str, set[str]] = {}
        for name in names:
            described: Type = self.schema.types.get(name, ("seq", True, ()))
            if name in self.schema.messages:
                described = ("extensions", self.schema.messages[name][3] or ())
            for reference in self.references(described):
                if self.group_of[reference] != group:
                    foreign.setdefault(self.group_of[reference], set()).add(class_name(reference))
        out = ["from dataclasses import dataclass", f"from typing import {', '.join(sorted([*typing, *(['TYPE_CHECKING'] if foreign else [])]))}", ""]
        if values and any(True for _ in values):
            out.append(f"from epc.wire.aper.values import {', '.join(values)}")
        if "(Message)" in body:
            out.append("from epc.wire.s1ap.message import " + ("Kind, Message" if "Kind" in body else "Message"))
        if foreign:
            out += ["", "if TYPE_CHECKING:"]
            for module, wanted in sorted(foreign.items()):
                out += _listed(f"    from epc.wire.s1ap.{module} import (", sorted(wanted), ")", "        ")
        return "\n".join(out) + "\n"

    def module(self, group: str) -> str:
        names = [name for name, owner in self.group_of.items() if owner == group]
        enums, classes = [], []
        for name in names:
            described = self.schema.types.get(name)
            if name in self.schema.messages:
                classes.append(self.message(name))
            elif isinstance(described, tuple) and described[0] == "enum":
                enums.append(self.enumeration(name, described))
            elif isinstance(described, tuple) and described[0] == "choice":
                classes.append(self.choice(name, described))
            elif isinstance(described, tuple):
                classes.append(self.structure(name, described))
        body = "\n".join(enums) + ("\n\n\n" if enums else "\n") + "\n\n\n".join(classes) + "\n"
        title = (MESSAGE_GROUPS.get(group) or IE_GROUPS[group])[0]
        exported = "\n".join(_listed("__all__ = [", [f'"{class_name(n)}"' for n in sorted(names, key=class_name)], "]", "    "))
        return HEADER.format(title=title) + self._imports(group, names, body) + "\n" + exported + "\n\n" + body

    def tables(self) -> str:
        def literal(value: object) -> str:
            return pprint.pformat(value, width=148, compact=True, sort_dicts=False)

        groups = [*IE_GROUPS, *MESSAGE_GROUPS]
        modules = {group: tuple(sorted(class_name(n) for n, owner in self.group_of.items() if owner == group)) for group in groups}
        messages = {class_name(name): described for name, described in self.schema.messages.items()}
        title = "What the APER runtime needs to know of S1AP, in the notation of ``epc.wire.aper.schema``."
        return HEADER.format(title=title) + (
            "from epc.wire.aper.build import Row, Type\n\n"
            "# module -> the classes and enumerations in it\n"
            f"MODULES: dict[str, tuple[str, ...]] = {literal(modules)}\n\n"
            "# class of a message -> procedure code, criticality, kind, rows (None: it has no protocol IEs)\n"
            f"MESSAGES: dict[str, tuple[int, str, str, tuple[Row, ...] | None]] = {literal(messages)}\n\n"
            f"TYPES: dict[str, Type] = {literal(self.schema.types)}\n")


def _wrapped(line: str) -> list[str]:
    """A line within the length limit, broken inside its brackets (or at its bars, in parentheses)."""
    if len(line) <= 148:
        return [line]
    indent = re.match(r"\s*", line)
    inner = (indent.group() if indent else "") + "    "
    if "[" in line:
        head, rest = line.split("[", 1)
        return _listed(head + "[", rest.rstrip("]").split(", "), "]", inner)
    head, rest = line.split(": ", 1)
    return [f"{head}: (", *textwrap.wrap(rest, 140, initial_indent=inner, subsequent_indent=inner), f"{inner[:-4]})"]


def _listed(opening: str, words: list[str], closing: str, indent: str) -> list[str]:
    one = f"{opening}{', '.join(words)}{closing}"
    if len(one) <= 148:
        return [one.replace("import (", "import ").removesuffix(")") if "import (" in opening else one]
    outer = indent[:-4]
    lines = textwrap.wrap(", ".join(words) + ",", 140, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    return [opening, *lines, outer + closing]


def generate() -> dict[str, str]:
    """File name -> content."""
    import pycrate_asn1dir.S1AP as pycrate_s1ap

    schema = Schema(pycrate_s1ap, "S1AP", field_name)
    schema.read_messages()
    schema.read_types(*STANDALONE)
    generator = Generator(schema)
    files = {f"{group}.py": generator.module(group) for group in (*IE_GROUPS, *MESSAGE_GROUPS)}
    files["tables.py"] = generator.tables()
    return files


if __name__ == "__main__":
    for name, content in generate().items():
        (HERE / name).write_text(content)
