"""The kernel's SCTP under our transport, proved under Debian's kernel in a virtual machine where this host's kernel has none.

``EPCLAB_KERNEL_SCTP=1`` insists: a kernel is fetched if there is none, and what is lacking fails instead of skipping.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from epc.transport.sctp import kernel, usrsctp

BOOT = Path(__file__).with_name("kernel_sctp") / "boot.py"
LACKS_SOMETHING = 75
INSISTS = os.environ.get("EPCLAB_KERNEL_SCTP") == "1"
AT_LEAST_PASSED = 90

pytestmark = [
    pytest.mark.real_time, pytest.mark.interop,
    pytest.mark.skipif(not kernel.available(), reason="this kernel has SCTP: the tests run under it, without a virtual machine"),
    pytest.mark.skipif(bool(usrsctp.available()), reason=usrsctp.available() or "-"),
]


def test_the_transport_on_a_kernel_that_has_sctp() -> None:
    run = subprocess.run([sys.executable, str(BOOT), *(["--download"] if INSISTS else [])], capture_output=True, text=True)
    if run.returncode == LACKS_SOMETHING and not INSISTS:
        pytest.skip(run.stderr.strip())
    assert run.returncode == 0, run.stdout + run.stderr
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed is not None, run.stdout
    assert int(passed[1]) >= AT_LEAST_PASSED, run.stdout
    skipped = re.findall(r"^SKIPPED .*: (.*)$", run.stdout, re.MULTILINE)
    assert set(skipped) <= {"no pysctp"}, "the kernel of the machine has SCTP, and it runs as root"
