"""
A signed 10-order request body: our path against the official SDK.

Run: `python benchmarks/signing.py [--rounds N]`. Prints medians and ratios, and fails when a ratio
falls below its target. All ways run in turn within each round, and CPU time of the thread is
counted, so that a busy machine disturbs the ratios little.

The SDK installs eth-account, which signs in pure Python unless coincurve is there too. This
project needs coincurve, so here eth-account would pick it by itself: the row "as installed" names
the pure-Python backend in `ECC_BACKEND_CLASS`, which eth-keys reads at every signature. That is
what `pip install hyperliquid-python-sdk` alone gives. (`Account.set_key_backend` would not do: it
does not reach the key object that signs.) The hash is eth-hash's own choice in both rows.

The SDK's rows run its `Exchange.bulk_orders` whole (numbers to text, msgpack, EIP-712, signature)
and dump the request to JSON; only the HTTP call is left out. Ours builds, signs and wraps ten such
orders. Texts of prices are remembered, so the row that counts never sends one twice; the two after
it send the same ten orders each time.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
from collections.abc import Callable, Sequence
from itertools import cycle
from statistics import median
from time import thread_time_ns
from typing import Any, NamedTuple

import msgspec
from eth_account import Account
from eth_hash.utils import auto_choose_backend
from eth_keys.backends import get_backend
from hyperliquid.exchange import Exchange
from hyperliquid.utils.constants import TESTNET_API_URL
from hyperliquid.utils.types import Cloid

from mmbot.core.intents import Place
from mmbot.core.types import Instrument, Side
from mmbot.hyperliquid import actions
from mmbot.hyperliquid.nonce import Nonces
from mmbot.hyperliquid.signing import KECCAK_BACKEND, Keccak, Signer, keccak256, keccak_pycryptodome

KEY = bytes.fromhex("0123456789" * 6 + "0123")
INSTRUMENT = Instrument(coin="HYPE", asset_id=159, sz_decimals=2, max_leverage=10)
NOW_MS = 1_791_484_300_000
TARGETS = {"SDK as installed": 60.0, "SDK with coincurve": 6.0}

_PLACES = [
    Place(
        cloid=(0x6D6D << 112) + index,
        side=Side.BUY if index < 5 else Side.SELL,
        px_ticks=212_770 - 10 * (index + 1) if index < 5 else 212_780 + 10 * (index - 4),
        sz_lots=100 + index,
    )
    for index in range(10)
]


WALK = [
    [msgspec.structs.replace(place, px_ticks=place.px_ticks + 10 * step) for place in _PLACES]
    for step in range(0, 25_000, 12)
]
"""A market that runs away: no price is sent twice, so none is found in a memory of texts."""


class CaughtExchange(Exchange):  # type: ignore[misc]
    """The SDK up to the bytes it would send."""

    def __init__(self) -> None:
        super().__init__(
            Account.from_key(KEY),
            TESTNET_API_URL,
            meta={"universe": []},
            spot_meta={"tokens": [], "universe": []},
        )
        self.info.coin_to_asset["HYPE"] = INSTRUMENT.asset_id
        self.info.name_to_coin["HYPE"] = "HYPE"

    def post(self, url_path: str, payload: Any = None) -> bytes:  # noqa: ARG002
        """Return the body instead of sending it."""
        return json.dumps(payload).encode()


def sdk() -> Callable[[], bytes]:
    """Build the SDK's way, from floats to body."""
    exchange = CaughtExchange()
    exchange.set_expires_after(NOW_MS + 3_000)
    requests = [
        {
            "coin": "HYPE",
            "is_buy": place.side is Side.BUY,
            "sz": INSTRUMENT.sz(place.sz_lots),
            "limit_px": INSTRUMENT.px(place.px_ticks),
            "order_type": {"limit": {"tif": "Alo"}},
            "reduce_only": False,
            "cloid": Cloid.from_int(place.cloid),
        }
        for place in _PLACES
    ]
    return lambda: exchange.bulk_orders(requests)


def ours(keccak: Keccak, walk: Sequence[Sequence[Place]] = (_PLACES,)) -> Callable[[], bytes]:
    """Build our way, from intents to body; the ladders of `walk` in turn."""
    signer = Signer(KEY, is_mainnet=False, keccak=keccak)
    nonces = Nonces()
    ladders = cycle(walk)

    def run() -> bytes:
        action = actions.order(INSTRUMENT, next(ladders))
        nonce = nonces.next(NOW_MS)
        signature = signer.sign(action.msgpack, nonce, NOW_MS + 3_000)
        return actions.body(action, nonce, signature, signer.vault, NOW_MS + 3_000)

    return run


class Way(NamedTuple):
    """One way to the body; `backend` is the ECDSA that eth-keys uses meanwhile."""

    name: str
    run: Callable[[], bytes]
    calls: int
    backend: str = "CoinCurveECCBackend"

    def time_us(self) -> float:
        """Mean CPU time of one call, in microseconds."""
        os.environ["ECC_BACKEND_CLASS"] = f"eth_keys.backends.{self.backend}"
        assert type(get_backend()).__name__ == self.backend
        began = thread_time_ns()
        for _ in range(self.calls):
            self.run()
        return (thread_time_ns() - began) / self.calls / 1e3


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    base = Way(f"ours ({KECCAK_BACKEND})", ours(keccak256, WALK), 50)
    ways = [
        base,
        Way("ours, prices of before", ours(keccak256), 50),
        Way("the same, pycryptodome", ours(keccak_pycryptodome), 50),
        Way("SDK with coincurve", sdk(), 10),
        Way("SDK as installed", sdk(), 2, "NativeECCBackend"),
    ]
    orders = [json.loads(way.run())["action"]["orders"] for way in ways]
    assert all(each == orders[0] for each in orders), "the ways do not send the same orders"

    gc.collect()
    gc.freeze()
    samples: dict[str, list[float]] = {way.name: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            samples[way.name].append(way.time_us())

    medians = {name: median(times) for name, times in samples.items()}
    ratios = {name: us / medians[base.name] for name, us in medians.items()}
    print(f"signed 10-order body, medians of {rounds} rounds")
    print(f"hash of the SDK: {type(auto_choose_backend()).__module__.rpartition('.')[2]}")
    for name, us in medians.items():
        target = f"  target {TARGETS[name]:.0f}x" if name in TARGETS else ""
        print(f"{name:24s} {us:10.1f} us {ratios[name]:8.1f}x{target}")
    missed = [name for name, target in TARGETS.items() if ratios[name] < target]
    print(f"MISSED: {', '.join(missed)}" if missed else "every target met")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
