"""
How fast the synthetic market runs: market seconds per wall second, alone and with a maker in it.

    python benchmarks/market.py [--minutes 10] [--repeats 5]

Medians over the repeats; the machine may be shared, so the ratios between rows mean more than the
rows. One row is one scenario and coin on a venue that lists every perp, as `mmbot exchange` does.
"""

from __future__ import annotations

import argparse
from statistics import median
from time import perf_counter

from mmbot.core.types import Side, Tif
from mmbot.emulator.scenarios import SCENARIOS, build_venue
from mmbot.emulator.specs import NewOrder

START_MS = 1_791_484_300_000
US = "0x" + "a1" * 20
CASES = (("HYPE", "hype"), ("HYPE", "demo"), ("hyna:HYPE", "hype"), ("BTC", "hype"))
STEP_MS = 250
HALF_BPS = 3.0
REQUIRED = 100.0
"""Below this the lab cannot run a day of market in a quarter of an hour."""


def run(coin: str, scenario: str, seed: int, minutes: float, *, is_quoting: bool) -> float:
    """Market seconds per wall second of one run, set-up left out."""
    venue, market = build_venue(
        coin, scenario, overrides={}, seed=seed, now_ms=START_MS, accounts=[(US, 1_000_000.0)]
    )
    asset_id = venue.asset_id(coin)
    assert asset_id is not None
    asset = venue.asset(asset_id)
    if asset.is_isolated_only:
        action = {"type": "updateLeverage", "asset": asset_id, "isCross": False, "leverage": 5}
        venue.execute(US, action, signer=US, is_agent=False)
    sz_lots = round(20 / asset.px(asset.mark_ticks) * asset.lots_per_coin)
    steps = round(minutes * 60_000 / STEP_MS)
    began = perf_counter()
    for n in range(1, steps + 1):
        market.advance(START_MS + n * STEP_MS)
        if is_quoting:
            for order in list(venue.account(US).open.values()):
                venue.cancel(US, asset_id, oid=order.oid)
            for side in Side:
                px = asset.ticks(market.mid_px * (1 - side * HALF_BPS * 1e-4))
                while not asset.is_valid_px(px):
                    px -= side
                venue.submit(US, NewOrder(asset_id, side, px, sz_lots, Tif.ALO))
        venue.drain()
    return minutes * 60 / (perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="Market time of a run.")
    parser.add_argument("--repeats", type=int, default=5, help="Runs per row.")
    options = parser.parse_args()
    print(f"{'coin':10} {'scenario':8} {'alone':>8} {'with a maker':>13}   market s per wall s")
    for coin, scenario in CASES:
        assert scenario in SCENARIOS
        alone, quoting = (
            median(
                run(coin, scenario, seed, options.minutes, is_quoting=is_quoting)
                for seed in range(options.repeats)
            )
            for is_quoting in (False, True)
        )
        verdict = "" if min(alone, quoting) >= REQUIRED else f"   below {REQUIRED:.0f}"
        print(f"{coin:10} {scenario:8} {alone:8.0f} {quoting:13.0f}{verdict}")


if __name__ == "__main__":
    main()
