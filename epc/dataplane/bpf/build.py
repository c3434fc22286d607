"""Compiles the BPF programs beside it. Takes clang and libbpf's headers (Debian: clang, libbpf-dev); only the build does.

``python epc/dataplane/bpf/build.py`` after a change of the source; ``setup.py`` calls it too. Standard library only.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

SOURCES = tuple(Path(__file__).with_name(name) for name in ("gtpu.bpf.c", "bench.bpf.c"))


def build(into: Path | None = None) -> None:
    """``into`` a folder, by default the one where the sources are. Raises ``OSError`` when the compiler is missing or does not like the source."""
    clang = shutil.which("clang")
    if clang is None:
        raise FileNotFoundError("there is no clang; without the program the user plane runs on sockets")
    for source in SOURCES:
        # Version 3 of the instruction set has atomic operations (Linux 5.12). <asm/types.h> is in Debian's folder of the machine.
        command = [
            clang, "-O2", "-g0", "-target", "bpf", "-mcpu=v3", "-Wall", "-Werror", f"-I/usr/include/{platform.machine()}-linux-gnu",
            "-c", str(source), "-o", str((into or source.parent) / source.with_suffix(".o").name),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"clang refuses {source.name}: {done.stderr.strip()}")


if __name__ == "__main__":
    try:
        build()
    except OSError as error:
        sys.exit(str(error))
