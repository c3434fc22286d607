"""The checksum of SCTP packets (RFC 9260 appendix A): usrsctp's when it is built in, else a table."""

from __future__ import annotations

from epc.transport.sctp import usrsctp

REVERSED_POLYNOMIAL = 0x82F63B78


def _table() -> tuple[int, ...]:
    table = []
    for octet in range(256):
        for _ in range(8):
            octet = octet >> 1 ^ (REVERSED_POLYNOMIAL if octet & 1 else 0)
        table.append(octet)
    return tuple(table)


TABLE = _table()


def crc32c_by_table(octets: bytes) -> int:
    remainder = 0xFFFFFFFF
    for octet in octets:
        remainder = remainder >> 8 ^ TABLE[(remainder ^ octet) & 0xFF]
    return remainder ^ 0xFFFFFFFF


def crc32c(octets: bytes) -> int:
    """The value; packets carry it in little-endian order."""
    if usrsctp.lib is None:
        return crc32c_by_table(octets)
    value: int = usrsctp.lib.shim_crc32c(octets, len(octets))
    return value
