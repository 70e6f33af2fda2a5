"""
Is paper better than the market: the same orders at a venue that trades them, and on paper.

    python benchmarks/paper.py [--scenario hype] [--seeds 3] [--seconds 500] [--json]

The venue and the market that paper watches are of one seed; in the second our orders are not. What
ends at the venue ends on paper as well: at once, which takes from paper what it would have filled a
moment later, or a second later. Markouts are by the mid of the market without us, positive for us.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from runtime.mirrored import SPANS_S, Mirrored, Taken

_SETS: Final = ("risk.loss_limit_frac=0.5", "risk.drawdown_limit_frac=0.5")
_KEEPS_MS: Final = (0, 1000)
_NAMES: Final = ("venue", "paper, the same life", "paper, a second longer")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--scenario", default="hype")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=500.0, help="of each")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    sums = [Taken() for _ in _NAMES]
    crossed = 0
    for seed in range(1, chosen.seeds + 1):
        run = Mirrored(chosen.scenario, seed, sets=_SETS, keeps_ms=_KEEPS_MS)
        run.trade(chosen.seconds)
        crossed += run.papers[-1].market.crossed_orders
        for whole, part in zip(sums, run.taken(), strict=True):
            whole.add(part)
    rows = {
        name: {
            "fills": one.fills,
            "sz": round(one.sz, 2),
            **{f"markout_{s}s_bps": round(one.markout_bps(s), 2) for s in SPANS_S if one.sz},
            **{f"worth_{s}s": round(one.worth(s), 1) for s in SPANS_S},
        }
        for name, one in zip(_NAMES, sums, strict=True)
    }
    if chosen.json:
        print(json.dumps({"scenario": chosen.scenario, "crossed_orders": crossed, **rows}))
        return
    for name, row in rows.items():
        print(f"{name:<24}" + "  ".join(f"{key} {value}" for key, value in row.items()))
    print(f"of the last, filled by a book without a trade: {crossed} orders")


if __name__ == "__main__":
    main()
