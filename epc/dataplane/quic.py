"""The server name in QUIC's first packets (RFC 9000, RFC 9001 clause 5, RFC 9369).

They are encrypted with keys that follow from the connection ID in them: anybody who sees them can read them, and they are protected only
against those who do not look.
"""

from __future__ import annotations

from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from epc.dataplane.shown_names import MAX_HEAD_OCTETS, handshake_name

MAX_PACKETS = 8                 # of one flow: a ClientHello with a post-quantum key share takes two
_MAX_CONNECTION_ID = 20
_PADDING, _PING, _ACK, _ACK_ECN, _CRYPTO = 0, 1, 2, 3, 6


class _Version(NamedTuple):
    salt: bytes
    label: bytes
    initial_type: int           # of the long header


_VERSIONS = {
    b"\x00\x00\x00\x01": _Version(bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"), b"quic", 0),
    b"\x6b\x33\x43\xcf": _Version(bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"), b"quicv2", 1),
}


class InitialKeys:
    """What the client protects its Initial packets with."""

    def __init__(self, version: bytes, connection_id: bytes) -> None:
        salt, label, _ = _VERSIONS[version]
        secret = _expand(_hmac(salt, connection_id), b"client in", 32)
        self.key, self.iv, self.header_key = (
            _expand(secret, label + part, octets) for part, octets in ((b" key", 16), (b" iv", 12), (b" hp", 16)))

    def open(self, packet: bytes, number_at: int, end: int) -> bytes | None:
        """The frames of the packet that ends at ``end``; ``None`` if it was not protected with these keys."""
        encryptor = Cipher(algorithms.AES(self.header_key), modes.ECB()).encryptor()
        mask = encryptor.update(packet[number_at + 4:number_at + 20])
        first = packet[0] ^ mask[0] & 0x0F
        number_octets = (first & 3) + 1
        number = bytes(octet ^ other for octet, other in zip(packet[number_at:number_at + number_octets], mask[1:], strict=False))
        header = bytes((first,)) + packet[1:number_at] + number
        nonce = (int.from_bytes(self.iv) ^ int.from_bytes(number)).to_bytes(12)
        try:
            return AESGCM(self.key).decrypt(nonce, packet[number_at + number_octets:end], header)
        except InvalidTag:
            return None


def _hmac(key: bytes, data: bytes) -> bytes:
    made = HMAC(key, SHA256())
    made.update(data)
    return made.finalize()


def _expand(secret: bytes, label: bytes, octets: int) -> bytes:
    """HKDF-Expand-Label with an empty context (RFC 8446 clause 7.1); one block is enough for all lengths here."""
    full = b"tls13 " + label
    return _hmac(secret, octets.to_bytes(2) + bytes((len(full),)) + full + b"\0" + b"\1")[:octets]


class ClientHello:
    """Put together from what a client's datagrams hold of it."""

    def __init__(self) -> None:
        self._keys: InitialKeys | None = None
        self._parts: dict[int, bytes] = {}
        self._packets = 0

    def put(self, datagram: bytes) -> str | None:
        """The server name; ``""`` when there is none to be expected any more, ``None`` when another datagram may bring it."""
        try:
            return self._put(datagram)
        except (IndexError, ValueError):
            return ""

    def _put(self, datagram: bytes) -> str | None:
        self._packets += 1
        version = _VERSIONS.get(datagram[1:5])
        if version is None or datagram[0] & 0xC0 != 0xC0:
            return ""
        if datagram[0] >> 4 & 3 != version.initial_type:
            return None if self._keys is not None and self._packets < MAX_PACKETS else ""
        at, connection_id = _counted(datagram, 5, _MAX_CONNECTION_ID)
        at, _ = _counted(datagram, at, _MAX_CONNECTION_ID)
        at, token_octets = _number(datagram, at)
        at, length = _number(datagram, at + token_octets)
        if len(datagram) < at + max(length, 20):
            return ""
        if self._keys is None:
            self._keys = InitialKeys(datagram[1:5], connection_id)
        frames = self._keys.open(datagram, at, at + length)
        if frames is None:
            return ""
        self._take(frames)
        return self._name()

    def _take(self, frames: bytes) -> None:
        at = 0
        while at < len(frames):
            kind = frames[at]
            at += 1
            if kind == _CRYPTO:
                at, offset = _number(frames, at)
                at, length = _number(frames, at)
                if offset + length <= MAX_HEAD_OCTETS and len(frames) >= at + length:
                    self._parts[offset] = frames[at:at + length]
                at += length
            elif kind in (_ACK, _ACK_ECN):
                at, _ = _number(frames, at)
                at, _ = _number(frames, at)
                at, ranges = _number(frames, at)
                for _ in range(1 + 2 * min(ranges, 64) + 3 * (kind == _ACK_ECN)):
                    at, _ = _number(frames, at)
            elif kind not in (_PADDING, _PING):
                return                          # ends the connection

    def _name(self) -> str | None:
        octets = b""
        for offset, part in sorted(self._parts.items()):
            if offset > len(octets):
                break
            octets += part[len(octets) - offset:]
        name = handshake_name(octets)
        return "" if name is None and self._packets >= MAX_PACKETS else name


def _counted(octets: bytes, at: int, most: int) -> tuple[int, bytes]:
    """Where it ends, and what an octet has announced the length of."""
    length = octets[at]
    if length > most:
        raise ValueError("too long")
    return at + 1 + length, octets[at + 1:at + 1 + length]


def _number(octets: bytes, at: int) -> tuple[int, int]:
    """Where it ends, and a number of one to eight octets (RFC 9000 clause 16)."""
    length = 1 << (octets[at] >> 6)
    if len(octets) < at + length:
        raise IndexError
    return at + length, int.from_bytes(octets[at:at + length]) & (1 << (8 * length - 2)) - 1
