"""The compiled programs: from which source they are, what they may be used for, and that a wheel takes them along."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from setuptools.config.pyprojecttoml import apply_configuration
from setuptools.dist import Distribution

from epc.dataplane.bpf import build, layout
from epc.dataplane.bpf.program import BENCH, GTPU, ObjectError, ObjectFile

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "epc" / "dataplane" / "bpf"

needs_clang = pytest.mark.skipif(shutil.which("clang") is None, reason="no clang")
needs_objects = pytest.mark.skipif(not (PACKAGE / GTPU).exists(), reason="the programs were not built here")


@needs_clang
@needs_objects
def test_objects_are_of_this_source(tmp_path: Path) -> None:
    build.build(tmp_path)
    for name in (GTPU, BENCH):
        assert (PACKAGE / name).read_bytes() == (tmp_path / name).read_bytes(), "build them again: python -m epc.dataplane.bpf.build"


@needs_clang
def test_source_that_does_not_compile_is_no_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wrong.bpf.c").write_text("int wrong(")
    monkeypatch.setattr(build, "SOURCES", (tmp_path / "wrong.bpf.c",))
    with pytest.raises(OSError, match=r"clang refuses wrong\.bpf\.c"):
        build.build()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match="there is no clang"):
        build.build()


def test_program_text_has_its_licence_and_a_file_of_its_own() -> None:
    """The kernel lets only GPL-compatible programs call all of its functions; the rest of the project is Apache-2.0."""
    sources = sorted(PACKAGE.glob("*.c"))
    assert sources == sorted(build.SOURCES)
    for source in sources:
        text = source.read_text()
        assert text.startswith("// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)\n")
        assert '_license[] SEC("license") = "Dual BSD/GPL"' in text


@needs_objects
def test_objects_are_read_without_a_compiler() -> None:
    """In a process that finds no other program, and that has not imported what builds them."""
    script = (
        "import sys; from epc.dataplane.bpf import layout; from epc.dataplane.bpf.program import ObjectFile; shipped = ObjectFile.shipped(); "
        "shipped.check(layout.VALUE_OCTETS); assert shipped.license == 'Dual BSD/GPL'; assert 'epc.dataplane.bpf.build' not in sys.modules; "
        "print(*sorted(shipped.programs))"
    )
    done = subprocess.run([sys.executable, "-c", script], env={"PATH": "", "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["tc_gtpu", "tc_link", "xdp_gtpu", "xdp_link", "xdp_probe"], done.stderr


@needs_objects
def test_structures_of_another_version_are_refused() -> None:
    shipped = ObjectFile.shipped()
    shipped.check(layout.VALUE_OCTETS)
    for other in ({**layout.VALUE_OCTETS, "rules": 64}, {**layout.VALUE_OCTETS, "quotas": 8}):
        with pytest.raises(ObjectError, match="built from another source"):
            shipped.check(other)


@needs_objects
@pytest.mark.filterwarnings("ignore::setuptools.warnings.SetuptoolsDeprecationWarning", "ignore:.*is experimental")
def test_a_wheel_takes_programs_and_their_text_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    command = apply_configuration(Distribution(), ROOT / "pyproject.toml").get_command_obj("build_py")
    command.ensure_finalized()
    command.manifest_files = {}
    found = {Path(file).name for file in command.find_data_files("epc.dataplane.bpf", str(PACKAGE))}
    assert {GTPU, BENCH, "gtpu.bpf.c", "bench.bpf.c"} <= found
