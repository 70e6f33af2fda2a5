"""
Signatures of actions: a hash of the canonical msgpack inside a fixed EIP-712 message.

    data         = msgpack(action) || nonce as u64 || 00 | 01 vault || [00 expires_after as u64]
    connectionId = keccak(data)
    digest       = keccak(1901 || domain || keccak(Agent type || keccak(source) || connectionId))

Everything but `connectionId` is constant, so a signature costs three short hashes and one ECDSA.
The nonce of the ECDSA is RFC 6979's: the same action gives the same bytes as the official SDK.

Source: Hyperliquid docs, "Signing", and the official Python SDK (`sign_l1_action`); EIP-712.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import msgspec
from coincurve import PrivateKey

from mmbot.errors import ConfigError

Keccak = Callable[[bytes], bytes]
"""Keccak-256 (not NIST SHA3-256): any bytes to 32 bytes."""


@cache
def _pycryptodome() -> Any:
    # Loaded only where it hashes: it brings a parser of C along, a part of every start.
    from Crypto.Hash import keccak  # noqa: PLC0415

    return keccak


def keccak_pycryptodome(data: bytes) -> bytes:
    """Keccak-256 over pycryptodome, which has a wheel for every platform."""
    digest: bytes = _pycryptodome().new(data=data, digest_bits=256).digest()
    return digest


def _pick() -> tuple[str, Keccak]:
    try:
        # A C hash object costs a tenth of pycryptodome's ctypes call; not every platform has it.
        from sha3 import keccak_256  # noqa: PLC0415
    except ImportError:
        return "pycryptodome", keccak_pycryptodome

    def keccak_pysha3(data: bytes) -> bytes:
        digest: bytes = keccak_256(data).digest()
        return digest

    return "safe-pysha3", keccak_pysha3


_PICKED: Final = _pick()
KECCAK_BACKEND: Final = _PICKED[0]
"""Which library hashes, chosen once at import: `safe-pysha3` or `pycryptodome`."""
keccak256: Final = _PICKED[1]
"""Keccak-256 over that library."""

_CHAIN_ID: Final = 1337
"""Of the phantom agent's domain, on both networks; the network is told apart by `source` alone."""
_DOMAIN_SEPARATOR: Final = keccak256(
    keccak256(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
    + keccak256(b"Exchange")
    + keccak256(b"1")
    + _CHAIN_ID.to_bytes(32, "big")
    + bytes(32)
)
_AGENT_TYPE: Final = keccak256(b"Agent(string source,bytes32 connectionId)")
_DIGEST_HEAD: Final = b"\x19\x01" + _DOMAIN_SEPARATOR
_KEY_BYTES: Final = 32
_ADDRESS_BYTES: Final = 20


class Signature(msgspec.Struct, frozen=True, gc=False):
    """`r` and `s` as minimal hex with `0x` (not padded, as the SDK sends them); `v` 27 or 28."""

    r: str
    s: str
    v: int


class Signer:
    """
    Signs actions with one key on one network.

    Args:
        private_key: 32 bytes; of an agent wallet or of the account itself.
        is_mainnet: Which network the signatures are good for.
        vault: 20-byte address of the vault or sub-account traded for, else None.
        keccak: Hash to use; the fastest one installed by default.

    Raises:
        ConfigError: The key is no private key or the vault no address. The key is not in the text.
    """

    __slots__ = ("_agent_head", "_keccak", "_key", "_vault_part", "address", "is_mainnet", "vault")

    def __init__(
        self,
        private_key: bytes,
        is_mainnet: bool,
        vault: bytes | None = None,
        *,
        keccak: Keccak = keccak256,
    ) -> None:
        if len(private_key) != _KEY_BYTES:
            msg = f"private key must be {_KEY_BYTES} bytes, got {len(private_key)}"
            raise ConfigError(msg)
        if vault is not None and len(vault) != _ADDRESS_BYTES:
            msg = f"vault address must be {_ADDRESS_BYTES} bytes, got {len(vault)}"
            raise ConfigError(msg)
        try:
            self._key = PrivateKey(private_key)
        except ValueError:
            # The library's own message is not shown: it may come to quote the secret.
            msg = "private key is out of range: it must lie between 0 and the order of secp256k1"
            raise ConfigError(msg) from None
        self._keccak = keccak
        self._agent_head = _AGENT_TYPE + keccak(b"a" if is_mainnet else b"b")
        self._vault_part = b"\x00" if vault is None else b"\x01" + vault
        self.vault = vault
        self.is_mainnet = is_mainnet
        public = self._key.public_key.format(compressed=False)[1:]
        self.address = "0x" + keccak(public)[-_ADDRESS_BYTES:].hex()

    def __repr__(self) -> str:
        """Name the signer without its key."""
        network = "mainnet" if self.is_mainnet else "testnet"
        return f"Signer(address={self.address}, network={network})"

    def __reduce__(self) -> str | tuple[object, ...]:
        """Refuse to be pickled or copied: the key stays in this object."""
        msg = "a Signer holds a private key and cannot be pickled"
        raise TypeError(msg)

    def connection_id(self, msgpack: bytes, nonce: int, expires_after_ms: int | None) -> bytes:
        """Return the 32-byte hash that binds action, nonce, vault and expiry."""
        data = msgpack + nonce.to_bytes(8, "big") + self._vault_part
        if expires_after_ms is not None:
            data += b"\x00" + expires_after_ms.to_bytes(8, "big")
        return self._keccak(data)

    def sign(self, msgpack: bytes, nonce: int, expires_after_ms: int | None) -> Signature:
        """
        Sign one action.

        Args:
            msgpack: Canonical msgpack of the action (`Action.msgpack`).
            nonce: Milliseconds, from `Nonces`.
            expires_after_ms: Venue time from which the action is refused, None for never.
        """
        connection_id = self.connection_id(msgpack, nonce, expires_after_ms)
        agent = self._keccak(self._agent_head + connection_id)
        signed = self._key.sign_recoverable(self._keccak(_DIGEST_HEAD + agent), hasher=None)
        return Signature(
            r="0x" + signed[:32].hex().lstrip("0"),
            s="0x" + signed[32:64].hex().lstrip("0"),
            v=27 + signed[64],
        )
