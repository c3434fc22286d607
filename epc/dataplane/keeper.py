"""A small process that owns network namespaces: it makes them, opens devices and sockets inside, and hands the descriptors over.

Entering a namespace changes the calling thread, and a user namespace cannot be entered by a process with threads at all; so this is
a process of its own, with one thread and nothing but the standard library. It runs as a script, not as part of the package, and lives
exactly as long as the other end of its socket is open: when that process ends, however it ends, the namespaces go.

One request and one answer at a time, JSON in a packet, descriptors beside it. ``namespace.Keeper`` is the other end.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import tempfile
from collections.abc import Callable

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
PR_SET_PDEATHSIG = 1
MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 4096, 16384, 1 << 18, 2
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
SIOCADDRT, SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFMTU = 0x890B, 0x8913, 0x8914, 0x8916, 0x891C, 0x8922
IFF_UP, RTF_UP = 0x1, 0x1
# struct rtentry: padding, destination, gateway, genmask, flags, padding (2, 8, and 8 with type of service), metric, device, mtu, window, irtt
ROUTE_ENTRY = struct.Struct("@L16s16s16sHhLBBhhhhPLLH0L")
MAX_REQUEST_OCTETS = 65536
NAMES_DIRECTORY = "/run/netns"              # where iproute2 looks for names
LOCKS_DIRECTORY = "/run/epclab/netns"       # who holds which name, so that what a killed keeper left can be taken over

Answer = tuple[dict[str, object], list[int]]            # the JSON part, and descriptors beside it

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int, what: str) -> None:
    check(libc.unshare(flags), what)


class Keeper:
    """``privileged``: namespaces belong to this user namespace and get names; otherwise they live in a user namespace of their own."""

    def __init__(self) -> None:
        self.namespaces: dict[str, int] = {}
        self.locks: dict[str, int] = {}
        self.last_words: dict[str, list[str]] = {}          # by namespace
        self.addresses_added = 0
        self.own = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.privileged = True

    def start(self) -> Answer:
        """Find out whether namespaces can be had, with privilege or in a user namespace."""
        try:
            unshare(CLONE_NEWNET, "unshare(NEWNET)")
        except PermissionError:
            self.privileged = False
            user, group = os.getuid(), os.getgid()
            unshare(CLONE_NEWUSER | CLONE_NEWNET, "unshare(NEWUSER | NEWNET)")
            write("/proc/self/setgroups", "deny")
            write("/proc/self/uid_map", f"0 {user} 1")
            write("/proc/self/gid_map", f"0 {group} 1")
            os.close(self.own)
            self.own = os.open("/proc/self/ns/net", os.O_RDONLY)
        else:
            self.enter(self.own)
        return {"privileged": self.privileged}, []

    def enter(self, descriptor: int) -> None:
        check(libc.setns(descriptor, CLONE_NEWNET), "setns")

    def create(self, name: str) -> Answer:
        if name in self.namespaces:
            raise FileExistsError(errno.EEXIST, f"namespace {name} exists")
        if self.privileged:
            self.take_name(name)
        try:
            unshare(CLONE_NEWNET, "unshare(NEWNET)")
            # No router solicitations or multicast reports from devices: they would show up in captures as the user's packets.
            for scope in ("default", "all"):
                write_if_possible(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6", "1")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                bring_up(control, "lo")
            self.namespaces[name] = os.open("/proc/self/ns/net", os.O_RDONLY)
            if name in self.locks:
                path = os.path.join(NAMES_DIRECTORY, name)
                os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o444))
                check(libc.mount(b"/proc/self/ns/net", path.encode(), b"none", MS_BIND, None), f"bind mount on {path}")
        except OSError:
            self.delete(name)
            raise
        finally:
            self.enter(self.own)
        return {"path": f"/proc/{os.getpid()}/fd/{self.namespaces[name]}"}, []

    def take_name(self, name: str) -> None:
        """Reserve the name; clear away what a keeper that was killed left under it."""
        path, lock_path = os.path.join(NAMES_DIRECTORY, name), os.path.join(LOCKS_DIRECTORY, name)
        ours_before = os.path.exists(lock_path)
        try:
            os.makedirs(NAMES_DIRECTORY, exist_ok=True)
            os.makedirs(LOCKS_DIRECTORY, exist_ok=True)
            lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
                return                  # a read-only container: the namespace works without a name
            raise
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(path):
                if not ours_before:
                    os.unlink(lock_path)
                    raise FileExistsError(errno.EEXIST, f"{path} exists and is not epclab's")
                libc.umount2(path.encode(), MNT_DETACH)
                os.unlink(path)
        except BlockingIOError:
            os.close(lock)
            raise FileExistsError(errno.EEXIST, f"another epclab process has a namespace {name}") from None
        except OSError:
            os.close(lock)
            raise
        self.locks[name] = lock

    def when_orphaned(self, name: str, command: list[str]) -> Answer:
        """Run this, outside the namespace, if it is still there when the other end of the socket ends."""
        self.last_words[name] = command
        return {}, []

    def delete(self, name: str) -> Answer:
        self.last_words.pop(name, None)
        descriptor = self.namespaces.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)
        lock = self.locks.pop(name, None)
        if lock is not None:
            path = os.path.join(NAMES_DIRECTORY, name)
            if os.path.exists(path):
                libc.umount2(path.encode(), MNT_DETACH)
                os.unlink(path)
            os.unlink(os.path.join(LOCKS_DIRECTORY, name))
            os.close(lock)
        return {}, []

    def inside(self, name: str, action: Callable[[], int]) -> int:
        self.enter(self.namespaces[name])
        try:
            return action()
        finally:
            self.enter(self.own)

    def open_tun(self, name: str, device: str, address: str, netmask: str, mtu: int, routes: list[tuple[str, str]]) -> Answer:
        """A TUN device inside the namespace, configured and up. ``routes``: (network, netmask) pairs through it."""
        return {}, [self.inside(name, lambda: make_tun(device, address, netmask, mtu, routes))]

    def add_address(self, name: str, address: str) -> Answer:
        """One more address of the loopback device."""
        self.addresses_added += 1
        label = f"lo:{self.addresses_added}"

        def add() -> int:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                fcntl.ioctl(control, SIOCSIFADDR, interface_request(label, socket_address(address)))
                fcntl.ioctl(control, SIOCSIFNETMASK, interface_request(label, socket_address("255.255.255.255")))
            return 0

        self.inside(name, add)
        return {}, []

    def open_socket(self, name: str, family: int, kind: int, protocol: int) -> Answer:
        def make() -> int:
            opened = socket.socket(family, kind, protocol)
            opened.setblocking(False)
            return opened.detach()

        return {}, [self.inside(name, make)]

    def run(
        self, name: str, arguments: list[str], environment: dict[str, str], directory: str, name_servers: list[str], standard: list[int],
    ) -> Answer:
        """Start a program in the namespace; its exit status is written to the last of the four descriptors given."""
        namespace = self.namespaces[name]
        minder = os.fork()
        if minder == 0:
            try:
                self.mind(namespace, arguments, environment, directory, name_servers, standard)
            finally:
                os._exit(127)
        return {"pid": minder}, []

    def mind(
        self, namespace: int, arguments: list[str], environment: dict[str, str], directory: str, name_servers: list[str], standard: list[int],
    ) -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.enter(namespace)
        start_read, start_write = os.pipe()
        program = os.fork()
        if program == 0:
            try:
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                for number, descriptor in enumerate(standard[:3]):
                    os.dup2(descriptor, number)
                if name_servers:
                    use_name_servers(name_servers)
                os.chdir(directory)
                os.closerange(3, start_write)
                os.closerange(start_write + 1, 65536)
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                os.execvpe(arguments[0], arguments, environment)
            except OSError as error:
                os.write(start_write, f"{error.errno} {error.strerror}: {arguments[0]}".encode())
            finally:
                os._exit(127)
        os.close(start_write)
        report: dict[str, object] = {"pid": program}
        failure = os.read(start_read, 4096).decode()
        if failure:
            code, _, text = failure.partition(" ")
            report = {"errno": int(code), "error": text}
        os.write(standard[3], json.dumps(report).encode() + b"\n")
        _, status = os.waitpid(program, 0)
        os.write(standard[3], json.dumps({"status": os.waitstatus_to_exitcode(status)}).encode() + b"\n")
        os._exit(0)

    def serve(self, channel: socket.socket) -> None:
        operations: dict[str, Callable[..., Answer]] = {
            "start": self.start, "create": self.create, "delete": self.delete,
            "open_tun": self.open_tun, "add_address": self.add_address, "open_socket": self.open_socket, "run": self.run,
            "when_orphaned": self.when_orphaned,
        }
        while True:
            message, given, _, _ = socket.recv_fds(channel, MAX_REQUEST_OCTETS, 8)
            if not message:
                break
            request = json.loads(message)
            operation = request.pop("operation")
            if given:
                request["standard"] = given
            opened: list[int] = []
            try:
                answer, opened = operations[operation](**request)
            except OSError as error:
                answer, opened = {"errno": error.errno, "error": error.strerror or str(error)}, []
            try:
                socket.send_fds(channel, [json.dumps(answer).encode()], opened)
            except BrokenPipeError:
                break
            finally:
                for descriptor in (*given, *opened):
                    os.close(descriptor)
        orphaned = list(self.last_words.values())
        for name in list(self.namespaces):
            self.delete(name)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for command in orphaned:
            os.spawnvp(os.P_WAIT, command[0], command)


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def write_if_possible(path: str, text: str) -> None:
    """For what is nice to have: some containers mount /proc/sys read-only, and kernels come without IPv6."""
    try:
        write(path, text)
    except OSError:
        pass


def become_host(keeper_pid: int, path: str, name_servers: list[str]) -> None:
    """Move this process, which must have one thread, into a namespace that another process keeps; the keeper's user namespace first."""
    user, network = os.open(f"/proc/{keeper_pid}/ns/user", os.O_RDONLY), os.open(path, os.O_RDONLY)
    try:
        if os.readlink(f"/proc/{keeper_pid}/ns/user") != os.readlink("/proc/self/ns/user"):
            check(libc.setns(user, CLONE_NEWUSER), "setns(NEWUSER)")
        check(libc.setns(network, CLONE_NEWNET), "setns(NEWNET)")
    finally:
        os.close(user)
        os.close(network)
    if name_servers:
        use_name_servers(name_servers)


def use_name_servers(servers: list[str]) -> None:
    """Give this process a view of the file system in which /etc/resolv.conf names these servers, and host names go to them."""
    unshare(CLONE_NEWNS, "unshare(NEWNS)")
    check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "private mounts")
    cover("/etc/resolv.conf", "".join(f"nameserver {server}\n" for server in servers))
    try:
        with open("/etc/nsswitch.conf") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    # systemd-resolved's module would ask the machine's resolver over a Unix socket
    if any(line.startswith("hosts:") and "resolve" in line for line in lines):
        cover("/etc/nsswitch.conf", "".join(("hosts: files dns" if line.startswith("hosts:") else line) + "\n" for line in lines))


def cover(path: str, text: str) -> None:
    """Put another text over a file, in this mount namespace only."""
    descriptor, other = tempfile.mkstemp(prefix="epclab-")
    try:
        os.write(descriptor, text.encode())
        os.fchmod(descriptor, 0o644)
        check(libc.mount(other.encode(), path.encode(), None, MS_BIND, None), f"bind mount on {path}")
    finally:
        os.close(descriptor)
        os.unlink(other)


def socket_address(text: str) -> bytes:
    return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(text))


def interface_request(device: str, content: bytes) -> bytes:
    return struct.pack("16s24s", device.encode(), content)


def bring_up(control: socket.socket, device: str) -> None:
    current = fcntl.ioctl(control, SIOCGIFFLAGS, interface_request(device, b""))
    (flags,) = struct.unpack_from("=H", current, 16)
    fcntl.ioctl(control, SIOCSIFFLAGS, interface_request(device, struct.pack("=H", flags | IFF_UP)))


def make_tun(device: str, address: str, netmask: str, mtu: int, routes: list[tuple[str, str]]) -> int:
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(tun, TUNSETIFF, interface_request(device, struct.pack("=H", IFF_TUN | IFF_NO_PI)))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, SIOCSIFMTU, interface_request(device, struct.pack("=i", mtu)))
            fcntl.ioctl(control, SIOCSIFADDR, interface_request(device, socket_address(address)))
            fcntl.ioctl(control, SIOCSIFNETMASK, interface_request(device, socket_address(netmask)))
            bring_up(control, device)
            name = ctypes.create_string_buffer(device.encode())
            for network, mask in routes:
                fcntl.ioctl(control, SIOCADDRT, ROUTE_ENTRY.pack(
                    0, socket_address(network), bytes(16), socket_address(mask), RTF_UP, 0, 0, 0, 0, 0, 0, 0, 0, ctypes.addressof(name), 0, 0, 0,
                ))
    except OSError:
        os.close(tun)
        raise
    return tun


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # Ctrl-C is for the other end, whose leaving ends this process too
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)       # minders need no wait
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        Keeper().serve(channel)


if __name__ == "__main__":
    main()
