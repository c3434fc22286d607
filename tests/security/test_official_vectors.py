"""The specifications' own test data. ``vectors/*.json`` names the source of each group."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from epc.security import snow3g, zuc
from epc.security.milenage import Milenage, derive_opc
from epc.security.nas_algorithms import Direction, Eea, Eia, eea, eia, uia2
from epc.security.tuak import Tuak, derive_topc

VECTORS: dict[str, Any] = {}
for file in ("authentication.json", "ciphers.json"):
    VECTORS |= json.loads((Path(__file__).parent / "vectors" / file).read_text())


def of(*groups: str) -> list[Any]:
    """One pytest case for each set, named as in the specification; the hexadecimal fields as octets."""
    cases = []
    for group in groups:
        for number, entry in enumerate(VECTORS[group]["sets"], start=1):
            fields = {name: bytes.fromhex(value) if isinstance(value, str) else value for name, value in entry.items()}
            cases.append(pytest.param(fields, id=f"{group} set {number}"))
    return cases


def truncated(octets: bytes, bits: int) -> bytes:
    spare = len(octets) * 8 - bits
    return (int.from_bytes(octets, "big") >> spare << spare).to_bytes(len(octets), "big")


def arguments(v: dict[str, Any]) -> tuple[bytes, int, int, Direction, bytes, int]:
    return v["key"], int.from_bytes(v["count"], "big"), v["bearer"], Direction(v["direction"]), v["message"], v["bits"]


@pytest.mark.parametrize("v", of("milenage"))
def test_milenage(v: dict[str, bytes]) -> None:
    assert derive_opc(v["k"], v["op"]) == v["opc"]
    for algorithm in (Milenage(v["k"], v["opc"]), Milenage.with_op(v["k"], v["op"])):
        check_functions(algorithm, v)


@pytest.mark.parametrize("v", of("tuak"))
def test_tuak(v: dict[str, Any]) -> None:
    assert derive_topc(v["k"], v["top"], v["iterations"]) == v["topc"]
    options = {name: v[name] for name in ("iterations", "mac_octets", "res_octets", "ck_octets", "ik_octets")}
    for algorithm in (Tuak(v["k"], v["topc"], **options), Tuak.with_top(v["k"], v["top"], **options)):
        check_functions(algorithm, v)


def check_functions(algorithm: Milenage | Tuak, v: dict[str, bytes]) -> None:
    rand = v["rand"]
    assert algorithm.f1(rand, v["sqn"], v["amf"]) == v["f1"]
    assert algorithm.f1_star(rand, v["sqn"], v["amf"]) == v["f1_star"]
    assert algorithm.f2(rand) == v["f2"]
    assert algorithm.f3(rand) == v["f3"]
    assert algorithm.f4(rand) == v["f4"]
    assert algorithm.f5(rand) == v["f5"]
    assert algorithm.f5_star(rand) == v["f5_star"]
    assert algorithm.f2_to_f5(rand) == (v["f2"], v["f3"], v["f4"], v["f5"])


@pytest.mark.parametrize("v", of("snow3g"))
def test_snow3g_keystream(v: dict[str, bytes]) -> None:
    # the document prints k0 and IV0 first
    key, iv = (b"".join(value[i:i + 4] for i in (12, 8, 4, 0)) for value in (v["key"], v["iv"]))
    words = [word.to_bytes(4, "big") for word in snow3g.keystream(key, iv, 2500)]
    assert b"".join(words).startswith(v["z"])
    if "z2500" in v:
        assert words[2499] == v["z2500"]


@pytest.mark.parametrize("v", of("zuc"))
def test_zuc_keystream(v: dict[str, bytes]) -> None:
    words = [word.to_bytes(4, "big") for word in zuc.keystream(v["key"], v["iv"], 2000)]
    assert b"".join(words).startswith(v["z"])
    if "z2000" in v:
        assert words[1999] == v["z2000"]


@pytest.mark.parametrize("v", of("uia2"))
def test_uia2(v: dict[str, Any]) -> None:
    count, fresh = int.from_bytes(v["count"], "big"), int.from_bytes(v["fresh"], "big")
    assert uia2(v["key"], count, fresh, v["direction"], v["message"], v["bits"]) == v["result"]


@pytest.mark.parametrize(("algorithm", "v"), [pytest.param(algorithm, *case.values, id=str(case.id)) for algorithm, group in
                                              ((Eia.EIA1, "eia1"), (Eia.EIA2, "eia2"), (Eia.EIA3, "eia3")) for case in of(group)])
def test_integrity(algorithm: Eia, v: dict[str, Any]) -> None:
    assert eia(algorithm, *arguments(v)) == v["result"]


@pytest.mark.parametrize(("algorithm", "v"), [pytest.param(algorithm, *case.values, id=str(case.id)) for algorithm, group in
                                              ((Eea.EEA1, "uea2"), (Eea.EEA2, "eea2"), (Eea.EEA3, "eea3")) for case in of(group)])
def test_encryption(algorithm: Eea, v: dict[str, Any]) -> None:
    key, count, bearer, direction, message, bits = arguments(v)
    encrypted = eea(algorithm, key, count, bearer, direction, message, bits)
    assert encrypted == truncated(v["result"], bits)
    assert eea(algorithm, key, count, bearer, direction, encrypted, bits) == truncated(message, bits)
