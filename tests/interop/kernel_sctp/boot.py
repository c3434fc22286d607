"""Runs a command under Debian's kernel in a virtual machine that sees this machine's files: for hosts whose own kernel has no SCTP.

    python tests/interop/kernel_sctp/boot.py                    the SCTP tests
    python tests/interop/kernel_sctp/boot.py ip address         any command, run in the project's folder
    python tests/interop/kernel_sctp/boot.py --download         fetches and unpacks a kernel first if there is none (apt-get download, 70 MB)

Needs qemu-system-x86_64 and busybox-static; no privilege, no KVM. The machine cannot write to the host's files and has no network.
Ends with the command's exit status; with 75 (EX_TEMPFAIL) and a reason on standard error when this host lacks something.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[2]
CACHE = PROJECT / "build" / "kernel_sctp"
QEMU = "qemu-system-x86_64"
IMAGE_PACKAGE = "linux-image-amd64"
WANTED_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "crc32c_generic", "sctp", "veth", "sch_netem")
TESTS = ("tests/transport/test_sctp_associations.py", "tests/interop/kernel_sctp/test_kernel_sctp_peers.py")
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--color=no", "--tb=short", "-rs", "-k", "kernel or both_wires", *TESTS)
EX_TEMPFAIL = 75
TIMEOUT_S = 540


class NotHere(Exception):
    """This host lacks something that the virtual machine needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    image: Path
    modules: Path

    def module_files(self) -> dict[str, Path]:
        return {path.stem.replace("-", "_"): path for path in self.modules.rglob("*.ko")}


def find_kernel(*, download: bool) -> Kernel:
    """The newest kernel with SCTP that is installed or was unpacked before, else a downloaded one."""
    kernels = [*_kernels(CACHE), *_kernels(Path("/"))]
    if not kernels and download:
        _download_kernel()
        kernels = list(_kernels(CACHE))
    if not kernels:
        raise NotHere(f"no kernel with SCTP: install {IMAGE_PACKAGE}, or set EPCLAB_KERNEL_SCTP=1 to fetch one into {CACHE.relative_to(PROJECT)}")
    return kernels[0]


def _kernels(root: Path) -> Iterator[Kernel]:
    for image in sorted((root / "boot").glob("vmlinuz-*"), reverse=True):
        modules = root / "lib" / "modules" / image.name.removeprefix("vmlinuz-")
        if os.access(image, os.R_OK) and (modules / "kernel/net/sctp/sctp.ko").exists():
            yield Kernel(image=image, modules=modules)


def _download_kernel() -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        depends = subprocess.run(["apt-cache", "depends", IMAGE_PACKAGE], check=True, capture_output=True, text=True).stdout
        package = re.search(r"Depends: (linux-image-\S+)", depends)
        if package is None:
            raise NotHere(f"apt knows no {IMAGE_PACKAGE}: apt-get update")
        subprocess.run(["apt-get", "download", "-qq", package[1]], check=True, capture_output=True, text=True, cwd=CACHE)
        for archive in CACHE.glob("linux-image-*.deb"):
            subprocess.run(["dpkg", "-x", archive, CACHE], check=True, capture_output=True, text=True)
            archive.unlink()
    except FileNotFoundError as missing:
        raise NotHere(f"no {missing.filename} to fetch a kernel with") from missing
    except subprocess.CalledProcessError as failed:
        raise NotHere(f"{shlex.join(map(str, failed.cmd))}: {failed.stderr.strip()}") from failed


def in_loading_order(wanted: Iterable[str], files: dict[str, Path]) -> list[Path]:
    """The modules and all that they depend on, each after what it needs. A name without a file is built into the kernel."""
    order: list[Path] = []

    def add(name: str) -> None:
        path = files.get(name)
        if path is None or path in order:
            return
        depends = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
        for needed in depends[1].decode().split(",") if depends else ():
            add(needed.replace("-", "_"))
        order.append(path)

    for name in wanted:
        add(name)
    return order


def archive(files: dict[str, bytes], folders: Iterable[str]) -> bytes:
    """A cpio archive (newc) as the kernel unpacks into its first root; every file may be executed."""
    entries = [*((name, 0o040755, b"") for name in folders), *((name, 0o100755, data) for name, data in files.items()), ("TRAILER!!!", 0, b"")]
    parts: list[bytes] = []
    for number, (name, mode, data) in enumerate(entries, start=1):
        path = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + path
        parts += (header, bytes(-len(header) % 4), data, bytes(-len(data) % 4))
    return b"".join(parts)


def first_root(kernel: Kernel, command: Sequence[str]) -> bytes:
    busybox = Path("/bin/busybox")
    if not busybox.exists():
        raise NotHere("no /bin/busybox: install busybox-static")
    modules = in_loading_order(WANTED_MODULES, kernel.module_files())
    environment = {
        "PATH": os.defpath + ":/usr/sbin:/sbin", "HOME": "/run/tmp", "TMPDIR": "/run/tmp", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1",
    }
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
    job = f"{exports}cd {shlex.quote(str(PROJECT))} && {shlex.join(command)} 2>&1\n"
    files = {
        "init": (HERE / "init.sh").read_bytes(), "bin/busybox": busybox.read_bytes(), "job": job.encode(),
        "modules/order": "".join(f"{path.name}\n" for path in modules).encode(),
        **{f"modules/{path.name}": path.read_bytes() for path in modules},
    }
    return gzip.compress(archive(files, ("bin", "dev", "host", "modules", "proc", "sys")), compresslevel=1)


def boot(kernel: Kernel, command: Sequence[str]) -> int:
    """Runs the command in the machine, its output on ours, and returns its exit status."""
    qemu = shutil.which(QEMU)
    if qemu is None:
        raise NotHere(f"no {QEMU}: install qemu-system-x86")
    CACHE.mkdir(parents=True, exist_ok=True)
    initrd = CACHE / f"initrd-{os.getpid()}.gz"
    initrd.write_bytes(first_root(kernel, command))
    arguments = [
        "nice", "-n", "10", qemu, "-machine", "q35,accel=tcg", "-cpu", "max", "-m", "1536", "-smp", "2", "-no-reboot", "-nodefaults",
        "-display", "none", "-serial", "stdio", "-nic", "none",
        "-kernel", str(kernel.image), "-initrd", str(initrd), "-append", "console=ttyS0 quiet loglevel=3 panic=-1",
        "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
    ]
    status: int | None = None
    machine = subprocess.Popen(["timeout", str(TIMEOUT_S), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace")
    try:
        assert machine.stdout is not None
        for line in machine.stdout:
            ended = re.match(r"guest exited with (\d+)", line)
            if ended:
                status = int(ended[1])
            else:
                print(line.rstrip(), flush=True)
    finally:
        machine.terminate()
        machine.wait()
        initrd.unlink()
    if status is None:
        print(f"the virtual machine ended before the command did (within {TIMEOUT_S} s?)", file=sys.stderr)
        return 1
    return status


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a command under Debian's kernel, with SCTP.")
    parser.add_argument("--download", action="store_true", help="fetch a kernel with apt-get download if there is none")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="default: the SCTP tests")
    arguments = parser.parse_args()
    try:
        return boot(find_kernel(download=arguments.download), arguments.command or PYTEST)
    except NotHere as lack:
        print(lack, file=sys.stderr)
        return EX_TEMPFAIL


if __name__ == "__main__":
    sys.exit(main())
