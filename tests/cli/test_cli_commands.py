"""Every command of the command line can be asked for help, and says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from epc.cli.main import COMMANDS, main
from epc.lab.running import NodeProcess


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"epclab {command}" in capsys.readouterr().out


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert all(command in out for command in COMMANDS)


def test_a_configuration_error_is_one_line_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mme.yaml"
    file.write_text("name: m\nnonsense: 1\n")
    assert main(["mme", "--config", str(file)]) == 2
    error = capsys.readouterr().err
    assert f"epclab: {file}:2: nonsense: unknown key; allowed here: " in error


def test_config_check_says_what_a_good_file_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", str(Path(__file__).parents[2] / "scenarios" / "attach.yaml")]) == 0
    assert "good: topology 'attach'" in capsys.readouterr().out


def test_ctl_without_a_lab_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ctl", "mme1", "--dir", str(tmp_path)]) == 2
    assert "no lab runs from" in capsys.readouterr().err


def test_a_kind_that_two_nodes_are_is_asked_back(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = {name: NodeProcess(name=name, kind="pcrf", pid=1, admin_host="127.0.0.1", admin_port=1) for name in ("pcrf-home", "pcrf-visited")}
    monkeypatch.setattr("epc.cli.ctl.read_state", lambda directory: nodes)
    assert main(["pcc", "--dir", str(tmp_path), "show"]) == 2
    assert capsys.readouterr().err == "epclab: which pcrf: pcrf-home, pcrf-visited?\nepclab: name it with --node, or a database with --database\n"
