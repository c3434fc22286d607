"""``epclab subscriber``."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from epc.cli import main

IMSI = "001010000000001"


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "hss.sqlite"
    monkeypatch.setenv("EPCLAB_DATABASE", f"sqlite:///{path}")
    return path


def epclab(*arguments: str) -> int:
    return main(["subscriber", *arguments])


@pytest.mark.usefixtures("database")
def test_add_list_show_remove(capsys: pytest.CaptureFixture[str]) -> None:
    assert epclab("add", IMSI, "--apn", "internet", "--apn", "ims qci=5", "--ambr-ul", "10M", "--msisdn", "34600000001") == 0
    assert epclab("list") == 0
    out = capsys.readouterr().out
    assert "1 subscriber added" in out
    assert IMSI in out
    assert "internet ims" in out
    assert epclab("show", IMSI) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["ambr_ul"] == "10M"
    assert "k" not in shown
    assert epclab("show", IMSI, "--secrets") == 0
    assert json.loads(capsys.readouterr().out)["k"] == "465b5ce8b199b49faa5f0a2ee238a6bc"
    assert epclab("add", IMSI) == 1
    assert "exists already" in capsys.readouterr().err
    assert epclab("add", IMSI, "--replace") == 0
    assert epclab("remove", IMSI) == 0
    assert epclab("remove", IMSI) == 1
    assert epclab("show", IMSI) == 1
    assert f"no subscriber {IMSI}" in capsys.readouterr().err


@pytest.mark.usefixtures("database")
def test_ranges(capsys: pytest.CaptureFixture[str]) -> None:
    assert epclab("add", f"{IMSI}+20000") == 0
    assert epclab("list", "001010000000010+3", "--json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "20000 subscribers added"
    assert [json.loads(line)["imsi"] for line in lines[1:]] == ["001010000000010", "001010000000011", "001010000000012"]
    assert epclab("list", "--limit", "2") == 0
    assert "of 20000 in all" in capsys.readouterr().err
    assert epclab("remove", f"{IMSI}+20000") == 0
    assert "20000 subscribers removed" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["csv", "open5gs", "srsran"])
@pytest.mark.usefixtures("database")
def test_export_and_import_again(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert epclab("add", f"{IMSI}+3") == 0
    exported = tmp_path / "subscribers"
    assert epclab("export", str(exported), "--format", form) == 0
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600
    assert epclab("import", str(exported)) == 2
    assert "3 of 3 exist already" in capsys.readouterr().err
    assert epclab("remove", f"{IMSI}+3") == 0
    assert epclab("import", str(exported), "--dry-run") == 0
    assert epclab("list") == 0
    assert "(none)" in capsys.readouterr().out
    assert epclab("import", str(exported)) == 0
    assert "3 subscribers imported" in capsys.readouterr().out
    assert epclab("import", str(exported), "--replace") == 0


@pytest.mark.usefixtures("database")
def test_export_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert epclab("add", IMSI) == 0
    capsys.readouterr()
    assert epclab("export", "-") == 0
    assert capsys.readouterr().out.splitlines()[1].startswith(f"{IMSI},")


@pytest.mark.usefixtures("database")
def test_a_wrong_file_stores_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(f"imsi,k,opc\n{IMSI},{'0' * 32},{'0' * 32}\n001010000000002,12,34\n")
    assert epclab("import", str(wrong)) == 2
    assert f"{wrong}:3: column k: '12' is wrong; allowed: 32 hexadecimal digits" in capsys.readouterr().err
    wrong.write_text(f"imsi,k,opc\n{IMSI},{'0' * 32},{'0' * 32}\n" + f"{IMSI},{'0' * 32},{'0' * 32}\n")
    assert epclab("import", str(wrong)) == 2
    assert "stands there twice" in capsys.readouterr().err
    wrong.write_bytes(b"imsi,k\n\xff\xfe")
    assert epclab("import", str(wrong)) == 2
    assert "not UTF-8 text at octet 7" in capsys.readouterr().err
    assert epclab("import", str(tmp_path / "nothing.csv")) == 1
    assert epclab("list") == 0
    assert "(none)" in capsys.readouterr().out


@pytest.mark.usefixtures("database")
def test_wrong_values_and_databases(capsys: pytest.CaptureFixture[str]) -> None:
    assert epclab("add", "00101") == 2
    assert "allowed: 6 to 15 digits" in capsys.readouterr().err
    assert epclab("list", "--database", "hss.sqlite") == 1
    assert "is not a database URL; allowed: sqlite:///FILE" in capsys.readouterr().err
