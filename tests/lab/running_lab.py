"""Labs as a user starts them: the command line, and whether this host has the namespaces that compose files run in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def epclab(*words: str, timeout_s: float = 90) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "epc.cli", *words], cwd=ROOT, capture_output=True, text=True, timeout=timeout_s)


def namespaces_can_be_made() -> bool:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return bool(shutil.which("unshare") and subprocess.run(["unshare", *user, "--net", "true"], capture_output=True).returncode == 0)
