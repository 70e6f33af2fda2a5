"""Signing: the bytes of the official SDK, and a key that never shows."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mmbot.errors import ConfigError
from mmbot.hyperliquid.signing import (
    KECCAK_BACKEND,
    Keccak,
    Signer,
    keccak256,
    keccak_pycryptodome,
)

_FILE: dict[str, Any] = msgspec.json.decode(Path(__file__).with_name("vectors.json").read_bytes())
KEY = bytes.fromhex(_FILE["key"][2:])
ADDRESS: str = _FILE["address"]
VECTORS: list[dict[str, Any]] = _FILE["vectors"]
SIGNATURES = [(vector, network) for vector in VECTORS for network in vector["sigs"]]


def _vault(vector: dict[str, Any]) -> bytes | None:
    return bytes.fromhex(vector["vault"][2:]) if vector["vault"] else None


def _packed(vector: dict[str, Any]) -> bytes:
    return msgspec.msgpack.encode(vector["action"])


@pytest.mark.parametrize("keccak", [keccak256, keccak_pycryptodome])
def test_keccak_is_the_original_padding_not_the_standardised_one(keccak: Keccak) -> None:
    """SHA3-256 of hashlib differs in one byte of padding and would sign nothing valid."""
    assert keccak(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


def test_both_keccak_backends_agree_and_the_chosen_one_is_named() -> None:
    """A machine without a wheel for one must still send the same bytes."""
    for size in (1, 135, 136, 137, 1000):
        assert keccak256(bytes(size)) == keccak_pycryptodome(bytes(size))
    assert KECCAK_BACKEND in {"safe-pysha3", "pycryptodome"}


@pytest.mark.parametrize("vector", [v for v in VECTORS if "hash" in v], ids=lambda v: v["name"])
def test_connection_id_equals_the_vectors(vector: dict[str, Any]) -> None:
    """The hash binds action, nonce, vault and expiry; one wrong byte signs for a stranger."""
    signer = Signer(KEY, False, _vault(vector))

    found = signer.connection_id(_packed(vector), vector["nonce"], vector["expires"])

    assert "0x" + found.hex() == vector["hash"]
    if "msgpack" in vector:
        assert _packed(vector).hex() == vector["msgpack"]


@pytest.mark.parametrize("keccak", [keccak256, keccak_pycryptodome])
@pytest.mark.parametrize(
    ("vector", "network"), SIGNATURES, ids=[f"{v['name']}-{n}" for v, n in SIGNATURES]
)
def test_signature_equals_the_vectors(vector: dict[str, Any], network: str, keccak: Keccak) -> None:
    """RFC 6979 leaves no freedom: the signature is the SDK's, byte for byte, on both networks."""
    signer = Signer(KEY, network == "a", _vault(vector), keccak=keccak)

    signature = signer.sign(_packed(vector), vector["nonce"], vector["expires"])

    assert [signature.r, signature.s, signature.v] == vector["sigs"][network]


def test_short_r_is_not_padded() -> None:
    """The SDK sends minimal hex; a vector of its test-suite has an r of 63 digits."""
    dummy = msgspec.msgpack.encode({"type": "dummy", "num": 100_000_000_000})

    signature = Signer(KEY, True).sign(dummy, 0, None)

    assert signature.r == "0x53749d5b30552aeb2fca34b530185976545bb22d0b3ce6f62e31be961a59298"


def test_address_is_that_of_the_key() -> None:
    """Reads and the start-up check name the account by it."""
    assert Signer(KEY, True).address == ADDRESS


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_key_of_a_wrong_length_is_refused_without_showing_it(length: int) -> None:
    """A mistyped key must end in a sentence, and the sentence must not contain it."""
    key = b"\xab" * length

    with pytest.raises(ConfigError, match=f"32 bytes, got {length}") as caught:
        Signer(key, True)

    assert "ab" * 4 not in str(caught.value)


@pytest.mark.parametrize("key", [bytes(32), b"\xff" * 32])
def test_key_out_of_range_is_refused_without_showing_it(key: bytes) -> None:
    """Zero and numbers beyond the group order are no keys."""
    with pytest.raises(ConfigError, match="out of range") as caught:
        Signer(key, True)

    assert caught.value.__cause__ is None
    assert key.hex()[:8] not in str(caught.value)


def test_vault_of_a_wrong_length_is_refused() -> None:
    """A truncated address would be hashed without complaint and sign for a stranger."""
    with pytest.raises(ConfigError, match="vault address must be 20 bytes, got 19"):
        Signer(KEY, True, bytes(19))


def test_key_is_in_no_text_and_no_copy_of_the_signer() -> None:
    """Logs print objects; crash reporters pickle them."""
    signer = Signer(KEY, True)

    shown = repr(signer) + str(signer) + f"{signer}"

    assert KEY.hex() not in shown
    assert str(KEY) not in shown
    assert ADDRESS in shown
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="private key"):
            leak(signer)
