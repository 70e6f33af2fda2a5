"""
Who signed a request, for which account, and whether it is fresh.

Two signing schemes exist (Hyperliquid docs, "Signing"): trading actions are hashed as msgpack and
signed as a phantom agent on chain 1337; transfers and approvals are typed data (EIP-712) of their
own, on any chain id. Both are only recovered here: the venue compares nothing, it asks who signed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from heapq import heappush, heappushpop
from typing import Any

import msgspec
from coincurve import PublicKey

from mmbot.emulator.canonical import Envelope
from mmbot.emulator.packing import pack


def _pick_keccak() -> Callable[[bytes], bytes]:
    try:
        from sha3 import keccak_256  # noqa: PLC0415 - the fast one where a wheel exists
    except ImportError:
        from Crypto.Hash import keccak  # noqa: PLC0415 - always installed, slower

        return lambda data: bytes(keccak.new(digest_bits=256, data=data).digest())
    return lambda data: bytes(keccak_256(data).digest())


keccak256: Callable[[bytes], bytes] = _pick_keccak()
"""Keccak-256 as Ethereum uses it (not the later SHA3-256 standard)."""

SECP256K1_N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Order of the curve's group: r and s of a signature lie in 1..N-1."""

DAY_MS = 86_400_000


# --- EIP-712 ---


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _address_word(value: str) -> bytes:
    return bytes(12) + bytes.fromhex(value[2:])


_ENCODE: Mapping[str, Callable[[Any], bytes]] = {
    "string": lambda value: keccak256(value.encode()),
    "address": _address_word,
    "bool": lambda value: _word(int(value)),
    "uint64": _word,
}

_DOMAIN_TYPE = keccak256(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)


def _domain(name: str, chain_id: int) -> bytes:
    version = keccak256(b"1")
    return keccak256(
        _DOMAIN_TYPE + keccak256(name.encode()) + version + _word(chain_id) + bytes(32)
    )


_L1_DOMAIN = _domain("Exchange", 1337)
_AGENT_TYPE = keccak256(b"Agent(string source,bytes32 connectionId)")


def connection_id(
    action: Mapping[str, Any], nonce: int, vault: str | None, expires_after_ms: int | None
) -> bytes:
    """
    Hash a trading action is signed under.

    Source: Hyperliquid docs, "Signing"; msgpack of the canonical action, the nonce in eight bytes,
    one byte for the vault and its address, then the expiry behind one more zero byte.
    """
    data = pack(dict(action)) + nonce.to_bytes(8, "big")
    data += b"\x00" if vault is None else b"\x01" + bytes.fromhex(vault[2:])
    if expires_after_ms is not None:
        data += b"\x00" + expires_after_ms.to_bytes(8, "big")
    return keccak256(data)


def l1_digest(connection: bytes, network: str) -> bytes:
    """The 32 bytes signed for `connection` on `network`: `a` is mainnet, `b` testnet."""
    agent = keccak256(_AGENT_TYPE + keccak256(network.encode()) + connection)
    return keccak256(b"\x19\x01" + _L1_DOMAIN + agent)


_CHAIN = ("hyperliquidChain", "string")
USER_TYPES: Mapping[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "approveAgent": (
        "ApproveAgent",
        (_CHAIN, ("agentAddress", "address"), ("agentName", "string"), ("nonce", "uint64")),
    ),
    "approveBuilderFee": (
        "ApproveBuilderFee",
        (_CHAIN, ("maxFeeRate", "string"), ("builder", "address"), ("nonce", "uint64")),
    ),
    "sendAsset": (
        "SendAsset",
        (
            _CHAIN,
            ("destination", "string"),
            ("sourceDex", "string"),
            ("destinationDex", "string"),
            ("token", "string"),
            ("amount", "string"),
            ("fromSubAccount", "string"),
            ("nonce", "uint64"),
        ),
    ),
    "usdClassTransfer": (
        "UsdClassTransfer",
        (_CHAIN, ("amount", "string"), ("toPerp", "bool"), ("nonce", "uint64")),
    ),
    "usdSend": (
        "UsdSend",
        (_CHAIN, ("destination", "string"), ("amount", "string"), ("time", "uint64")),
    ),
    "spotSend": (
        "SpotSend",
        (
            _CHAIN,
            ("destination", "string"),
            ("token", "string"),
            ("amount", "string"),
            ("time", "uint64"),
        ),
    ),
    "withdraw3": (
        "Withdraw",
        (_CHAIN, ("destination", "string"), ("amount", "string"), ("time", "uint64")),
    ),
    "userSetAbstraction": (
        "UserSetAbstraction",
        (_CHAIN, ("user", "address"), ("abstraction", "string"), ("nonce", "uint64")),
    ),
    "userDexAbstraction": (
        "UserDexAbstraction",
        (_CHAIN, ("user", "address"), ("enabled", "bool"), ("nonce", "uint64")),
    ),
}
"""Primary type and typed fields, in order, of the actions a user signs (protocol notes 2.3)."""


def user_digest(action: Mapping[str, Any]) -> bytes:
    """The 32 bytes signed for a canonical user-signed action."""
    name, fields = USER_TYPES[action["type"]]
    primary = f"HyperliquidTransaction:{name}"
    signature = ",".join(f"{kind} {field}" for field, kind in fields)
    body = keccak256(f"{primary}({signature})".encode())
    body += b"".join(_ENCODE[kind](action[field]) for field, kind in fields)
    domain = _domain("HyperliquidSignTransaction", int(action["signatureChainId"], 16))
    return keccak256(b"\x19\x01" + domain + keccak256(body))


def address_of(public_key: PublicKey) -> str:
    """Ethereum address of a key, in lower case."""
    point = public_key.format(compressed=False)
    return "0x" + keccak256(point[1:])[-20:].hex()


def recover(digest: bytes, envelope: Envelope) -> str | None:
    """Address that signed `digest`, or None when the numbers are no signature at all."""
    r, s, v = envelope.r, envelope.s, envelope.v
    parity = v - 27 if v >= 27 else v
    if not (0 < r < SECP256K1_N and 0 < s < SECP256K1_N and parity in {0, 1}):
        return None
    signature = _word(r) + _word(s) + bytes((parity,))
    try:
        key = PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except Exception:  # noqa: BLE001 - the library raises bare Exception for an unrecoverable point
        return None
    return address_of(key)


# --- nonces ---

NONCES_KEPT = 100
"""Highest nonces that set the floor of a signer (Hyperliquid docs, "Nonces and API wallets")."""

NONCE_MARGIN_MS = 120_000
"""How far beyond the documented window the venue still accepts (measured on testnet)."""


class NonceSet:
    """Nonces of one signer: the 100 highest are the floor, whatever was seen is a duplicate."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._highest: list[int] = []

    def refusal(self, nonce: int) -> str | None:
        """Why `nonce` cannot be admitted now, in the venue's words, or None."""
        if nonce in self._seen:
            return f"Invalid nonce: duplicate nonce {nonce}"
        if len(self._highest) == NONCES_KEPT and nonce < self._highest[0]:
            return f"Invalid nonce: nonce too low {nonce} < {self._highest[0]}"
        return None

    def admit(self, nonce: int, now_ms: int) -> None:
        """Consume `nonce` and forget those the window refuses anyhow."""
        self._seen.add(nonce)
        if len(self._highest) < NONCES_KEPT:
            heappush(self._highest, nonce)
        else:
            heappushpop(self._highest, nonce)
        if len(self._seen) > 100_000:
            floor = lowest_nonce(now_ms)
            self._seen = {seen for seen in self._seen if seen >= floor}


def lowest_nonce(now_ms: int) -> int:
    """Lowest nonce the venue accepts at `now_ms`."""
    return now_ms - 2 * DAY_MS - NONCE_MARGIN_MS


def highest_nonce(now_ms: int) -> int:
    """Highest nonce the venue accepts at `now_ms`."""
    return now_ms + DAY_MS + NONCE_MARGIN_MS


def window_refusal(nonce: int, now_ms: int) -> str | None:
    """Why the clock alone refuses `nonce`, in the venue's words, or None."""
    low, high = lowest_nonce(now_ms), highest_nonce(now_ms)
    if nonce < low:
        return f"Invalid nonce: nonce too low {nonce} < {low}"
    if nonce > high:
        return f"Invalid nonce: nonce too high {nonce} > {high}"
    return None


# --- agents ---

ZERO_ADDRESS = "0x" + "0" * 40
AGENT_LIFE_DEFAULT_MS = 90 * DAY_MS
AGENT_LIFE_MAX_MS = 180 * DAY_MS
AGENTS_NAMED_MAX = 3
AGENTS_PER_SUB = 2
AGENT_NAME_MAX = 16


class Agent(msgspec.Struct, frozen=True):
    """A key that may trade for a master account; `name` is empty for the one unnamed agent."""

    address: str
    master: str
    name: str
    valid_until_ms: int


class Identities:
    """Agents and nonces: what the venue knows of keys rather than of accounts."""

    def __init__(self) -> None:
        self._agents: dict[str, Agent] = {}
        self._used: set[str] = set()
        self._nonces: dict[str, NonceSet] = {}

    def nonces(self, signer: str) -> NonceSet:
        """Nonces of one signing key; agents and masters have sets of their own."""
        found = self._nonces.get(signer)
        if found is None:
            found = self._nonces[signer] = NonceSet()
        return found

    def agent(self, address: str, now_ms: int) -> Agent | None:
        """The agent with this key, unless it was replaced, revoked or ran out."""
        found = self._agents.get(address)
        return found if found is not None and found.valid_until_ms > now_ms else None

    def agents_of(self, master: str, now_ms: int) -> Iterator[Agent]:
        """Live agents of `master`, the unnamed one included."""
        return (
            agent
            for agent in self._agents.values()
            if agent.master == master and agent.valid_until_ms > now_ms
        )

    def approve_agent(
        self, master: str, address: str, name: str, now_ms: int, *, sub_accounts: int = 0
    ) -> str | None:
        """
        Make `address` an agent of `master`, replacing the one of the same name at once.

        Args:
            name: Empty for the unnamed agent; may end in ` valid_until <ms>`.

        Returns:
            The venue's refusal, or None when done.
        """
        label, _, until = name.partition(" valid_until ")
        is_named = bool(name)
        if is_named and not 1 <= len(label) <= AGENT_NAME_MAX:
            return "Extra agent name must be between 1 and 16 characters long"
        valid_until_ms = now_ms + AGENT_LIFE_DEFAULT_MS
        if until:
            if not until.isascii() or not until.isdigit():
                return "Extra agent name must be between 1 and 16 characters long"
            valid_until_ms = min(int(until), now_ms + AGENT_LIFE_MAX_MS)
        old = next((a for a in self.agents_of(master, now_ms) if a.name == label), None)
        if address == ZERO_ADDRESS:
            if old is not None:
                del self._agents[old.address]
            return None
        if address in self._used:
            # An address served once: its nonces may be forgotten, so old actions could be replayed.
            return "Extra agent already used."
        limit = AGENTS_NAMED_MAX + AGENTS_PER_SUB * sub_accounts
        named = sum(1 for a in self.agents_of(master, now_ms) if a.name)
        if is_named and old is None and named >= limit:
            return f"Too many extra agents for cumulative volume traded. Current limit is {limit}"
        if old is not None:
            del self._agents[old.address]
        self._agents[address] = Agent(address, master, label, valid_until_ms)
        self._used.add(address)
        return None
