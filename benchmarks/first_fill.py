"""
How soon `make run` shows a fill: configs/emulator.toml unchanged, 100 markets, the real trader.

    python benchmarks/first_fill.py [--seeds 100] [--first-seed 0] [--workers 2] [--json]

The trader that `mmbot run` runs, over the in-memory pipe against the exchange that `mmbot exchange`
serves, in simulated time. Everything comes from the shipped configuration file; only
`emulator.seed`, the seed of the market, differs from run to run. One way of the pipe takes 1 ms:
the embedded exchange is on loopback.

Both ends of the interval are read from the exchange's own clock, which in simulated time is
everybody's: from the arrival of our first order action, before it has executed, to the time the
first fill carries. Beside it, the same from the moment the connection is dialled: that is what a
person waits.

Returns 1 when fewer than 95 of 100 seeds fill within 20 s of the first quote.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from mmbot.config import load
from mmbot.core.types import NS_PER_MS
from mmbot.emulator.scenarios import build_venue
from mmbot.emulator.wire import Exchange, ExchangeParams
from mmbot.hyperliquid.signing import Signer
from mmbot.runtime.piped import WORTHLESS_KEY, Piped
from mmbot.runtime.simulation import SimLoop

CONFIG: Final = Path(__file__).resolve().parent.parent / "configs" / "emulator.toml"
WITHIN_S: Final = 20.0
SHARE_MIN: Final = 0.95
GIVE_UP_S: Final = 300.0
"""Simulated time after which a seed without a fill is given up."""
ONE_WAY_NS: Final = NS_PER_MS
START_MS: Final = 497_635 * 3_600_000
QUANTILES: Final = (0.5, 0.75, 0.9, 0.95, 1.0)


@dataclass(frozen=True)
class Wait:
    """One seed: s from the first quote and from dialling to the first fill; None: no fill."""

    seed: int
    from_quote_s: float | None
    from_dial_s: float | None
    side: str | None
    end_reason: str | None


class Run(Piped):
    """One assembled trader on one seed's market."""

    def __init__(self, seed: int) -> None:
        config = load(CONFIG, [f"emulator.seed={seed}"])
        signer = Signer(WORTHLESS_KEY, is_mainnet=False)
        coin = config.instrument.wire_coin
        emulator = config.emulator
        equity_usd = emulator.equity_usd or config.risk.capital_usd
        self.venue, market = build_venue(
            coin,
            emulator.scenario,
            overrides=config.market,
            seed=emulator.seed,
            now_ms=START_MS,
            accounts=[(signer.address, equity_usd)],
        )
        exchange = Exchange(
            self.venue,
            market,
            ExchangeParams(latency_ms=emulator.latency_ms),
            START_MS,
            market_coin=coin,
            chance=random.Random(emulator.seed),
        )
        super().__init__(
            config,
            exchange,
            SimLoop(START_MS * NS_PER_MS),
            signer=signer,
            user=signer.address,
            run=seed,
            jitter=random.Random(seed),
            level="error",
            latency_ns=ONE_WAY_NS,
        )

    def start(self) -> None:
        """Leverage first, then the connection, as `mmbot run` does."""
        refusal = self.lever()
        if refusal is not None:
            raise RuntimeError(f"the leverage was not set: {refusal}")
        self.know()
        self.trader.start()

    def quoted_ms(self) -> int | None:
        """When our first order reached the exchange."""
        stamps = [
            int(entry["time"])
            for entry in self.exchange.requests
            if entry["body"]["action"]["type"] == "order"
        ]
        return min(stamps, default=None)

    def fills(self) -> list[dict[str, Any]]:
        """Our fills, by the exchange's word."""
        return list(self.venue.user_fills(self.signer.address, aggregate=False))


def wait(seed: int) -> Wait:
    """Trade one seed until its first fill."""
    run = Run(seed)
    run.start()
    dialled_ms = run.sim.clock() / NS_PER_MS
    run.sim.run_till(lambda: bool(run.fills()) or bool(run.endings), GIVE_UP_S)
    end_reason = run.endings[0].reason if run.endings else None
    fills = run.fills()
    if not fills:
        return Wait(seed, None, None, None, end_reason)
    quoted_ms = run.quoted_ms()
    if quoted_ms is None:
        raise RuntimeError(f"seed {seed}: a fill without an order")
    first = min(fills, key=lambda fill: int(fill["time"]))
    filled_ms = int(first["time"])
    return Wait(
        seed,
        (filled_ms - quoted_ms) / 1000,
        (filled_ms - dialled_ms) / 1000,
        str(first["side"]),
        end_reason,
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def main() -> int:
    """Run every seed, print, and return 1 when too few fill in time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args()
    if args.seeds < 1 or args.workers < 1:
        parser.error("--seeds and --workers: at least 1")
    began_s = time.perf_counter()
    with ProcessPoolExecutor(args.workers) as pool:
        waits = list(pool.map(wait, range(args.first_seed, args.first_seed + args.seeds)))
    took_s = time.perf_counter() - began_s

    filled = [row for row in waits if row.from_quote_s is not None]
    quote_s = [row.from_quote_s for row in filled if row.from_quote_s is not None]
    dial_s = [row.from_dial_s for row in filled if row.from_dial_s is not None]
    in_time = sum(value <= WITHIN_S for value in quote_s)
    late = [row for row in waits if row.from_quote_s is None or row.from_quote_s > WITHIN_S]
    is_met = in_time >= SHARE_MIN * len(waits)
    if args.json:
        rows = [asdict(row) for row in waits]
        figures = {"in_time": in_time, "seeds": len(waits), "is_met": is_met, "took_s": took_s}
        print(json.dumps({**figures, "waits": rows}, indent=1))
        return 0 if is_met else 1
    print(f"{len(waits)} seeds of scenario demo, {CONFIG.name} unchanged, simulated time")
    verdict = "ok    " if is_met else "MISSED"
    print(
        f"  {verdict} first fill within {WITHIN_S:g} s of the first quote: {in_time} of "
        f"{len(waits)} (at least {SHARE_MIN:.0%})"
    )
    for row in late:
        told = "none" if row.from_quote_s is None else f"after {row.from_quote_s:.2f} s"
        ended = f", ended: {row.end_reason}" if row.end_reason else ""
        print(f"         seed {row.seed}: {told}{ended}")
    for name, values in (("first quote", quote_s), ("dialling", dial_s)):
        if values:
            shares = "  ".join(f"{share:.0%} {quantile(values, share):.2f}" for share in QUANTILES)
            print(f"  s from {name} to first fill: mean {statistics.fmean(values):.2f}  {shares}")
    sides = [row.side for row in filled]
    print(f"  first fill a purchase in {sides.count('B')}, a sale in {sides.count('A')}")
    print(f"  took {took_s:.0f} s with {args.workers} processes")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
