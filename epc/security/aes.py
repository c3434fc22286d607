"""AES-128 as the algorithms here need it: the bare block cipher, CMAC over bit strings, counter mode.

Setting up a key costs more than a NAS message's worth of encryption, so each key's cipher object is kept while it is in use.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

_BLOCK_BITS = 128
_MASK_128 = (1 << 128) - 1
_KEYS_IN_USE = 2048


@lru_cache(maxsize=_KEYS_IN_USE)
def block_cipher(key: bytes) -> CipherContext:
    """AES in electronic code book mode: ``update`` encrypts any number of whole blocks, and may be called for ever."""
    return Cipher(AES(key), modes.ECB()).encryptor()


@lru_cache(maxsize=_KEYS_IN_USE)
def _fresh_cmac(key: bytes) -> CMAC:
    """A CMAC with the key set up and no message yet, to be copied."""
    return CMAC(AES(key))


def cmac(key: bytes, message: bytes, bit_length: int) -> bytes:
    """AES-CMAC (NIST SP 800-38B) of the first ``bit_length`` bits of ``message``, 16 octets."""
    if bit_length == len(message) * 8:
        mac = _fresh_cmac(key).copy()
        mac.update(message)
        return mac.finalize()
    return _cmac_of_bits(key, message, bit_length)


def _cmac_of_bits(key: bytes, message: bytes, bit_length: int) -> bytes:
    """Clause 6.2 written out, for lengths that are no whole number of octets: the last block is therefore never complete."""
    k2 = int.from_bytes(block_cipher(key).update(bytes(16)), "big")
    for _ in range(2):      # clause 6.1: K1, then K2
        k2 = (k2 << 1 & _MASK_128) ^ (0x87 if k2 >> 127 else 0)
    blocks = -(-bit_length // _BLOCK_BITS)
    text = int.from_bytes(message, "big") >> (len(message) * 8 - bit_length)
    text = ((text << 1 | 1) << (blocks * _BLOCK_BITS - bit_length - 1)) ^ k2
    return Cipher(AES(key), modes.CBC(bytes(16))).encryptor().update(text.to_bytes(blocks * 16, "big"))[-16:]


def counter_mode(key: bytes, initial_counter: bytes, message: bytes) -> bytes:
    """AES-CTR (NIST SP 800-38A clause 6.5) from a 16-octet initial counter block; its own inverse."""
    return Cipher(AES(key), modes.CTR(initial_counter)).encryptor().update(message)
