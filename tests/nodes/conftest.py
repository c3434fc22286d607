"""A PostgreSQL server for the tests of nodes with a database."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_PROGRAMS = next((path for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True) if (path / "initdb").exists()), None)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """A server of its own, on a socket in a temporary folder. It refuses to run as root, hence the user postgres."""
    if _PROGRAMS is None:
        pytest.skip("no PostgreSQL server on this machine")
    programs = _PROGRAMS
    as_user: dict[str, Any] = {"user": "postgres"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)

        def call(program: str, *arguments: str) -> None:
            subprocess.run([programs / program, "-D", f"{directory}/data", *arguments], check=True, capture_output=True, cwd=directory, **as_user)

        call("initdb", "-A", "trust", "-U", "postgres", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories={directory} -c fsync=off"
        call("pg_ctl", "-l", f"{directory}/server.log", "-w", "-o", options, "start")
        try:
            yield f"postgresql://postgres@/postgres?host={directory}"
        finally:
            call("pg_ctl", "-m", "immediate", "-w", "stop")
