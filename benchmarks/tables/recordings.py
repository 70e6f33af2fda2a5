"""The variants over real recordings, where they are: `MMBOT_DATA`, else `../shared/data`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from benchmarks.tables.binance import convert
from benchmarks.tables.kept import REPO, Clock, Json, Kept, number, say, table

from mmbot.config import load
from mmbot.core.engine import EngineParams
from mmbot.emulator.tape import BacktestParams
from mmbot.errors import ConfigError
from mmbot.runtime.backtest import resolve
from mmbot.runtime.lab.measure import to_json
from mmbot.runtime.lab.recorded import compare
from mmbot.runtime.lab.variants import at_width
from mmbot.runtime.workers import Workers

TITLE: Final = "Real recordings"
VARIANTS: Final = ("base", "all", "predecessor")
LEAST_FILLS: Final = 30
"""Fills below which a row is an anecdote."""
_NARROWEST: Final = 0.5
_AT_ONCE: Final = 2


class Source(msgspec.Struct, frozen=True):
    """A recording."""

    folder: str
    coin: str
    note: str = ""
    files: tuple[str, ...] = ()
    """Raw streams that have to be converted first."""

    @property
    def key(self) -> str:
        """Its name in the tables."""
        return f"{self.folder} {self.coin}"


SOURCES: Final = (
    *(Source("hl-l2-20250904", coin) for coin in ("WLFI", "SOL", "ETH", "BTC")),
    *(
        Source("hl-l2-20250903-gap", coin, "four minutes of it are missing")
        for coin in ("WLFI", "SOL", "ETH", "BTC")
    ),
    Source(
        "binance-usdm-2024",
        "BTC",
        "another venue, touch of 0.02 bps",
        ("btcusdt_20240718.gz", "btcusdt_20240719.gz"),
    ),
    Source(
        "binance-usdm-2024", "ETH", "another venue, touch of 0.04 bps", ("ethusdt_20240808.gz",)
    ),
)


def data_dir() -> Path:
    """Where recordings lie."""
    return Path(os.environ.get("MMBOT_DATA") or REPO.parent / "shared" / "data")


def measure(pool: Workers, kept: Kept, clock: Clock, sources: tuple[Source, ...] = SOURCES) -> None:
    """Every recording that this commit has not played yet, while there is time."""
    told = kept.load("recordings") or {"recordings": {}}
    found: Json = told["recordings"]
    waiting = [one for one in sources if "skipped" in found.get(one.key, {"skipped": ""})]
    while waiting:
        some, waiting = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
        if clock.left_s <= 0:
            found.update({one.key: {"skipped": "no time was left"} for one in (*some, *waiting)})
            break
        for one, played in zip(some, pool.each(_played, some), strict=True):
            found[one.key] = played
            say(f"  recordings: {one.key}: {played.get('skipped') or 'done'}")
        kept.save("recordings", {"recordings": found})
    kept.save("recordings", {"recordings": found})
    kept.page("recordings", TITLE, lines(found, sources))


def _played(source: Source) -> Json:
    folder = data_dir() / source.folder
    missing = [name for name in source.files if not (folder / name).exists()]
    if not folder.is_dir() or missing:
        return {"skipped": f"not there: {', '.join(missing) or source.folder}"}
    if source.files:
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / source.folder
            path.mkdir()
            convert([folder / name for name in source.files], path, source.coin)
            return _compared(path, source)
    return _compared(folder, source)


def _compared(folder: Path, source: Source) -> Json:
    settings = load(REPO / "configs" / "hype.toml", [])
    params = settings.backtest
    fee_bps = resolve(source.coin, params, None, None)[1].maker_bps
    widths: dict[str, Callable[[EngineParams], EngineParams]] = {
        "as shipped": lambda shipped: shipped,
        "narrowest": lambda shipped: at_width(shipped, _NARROWEST, fee_bps),
    }
    try:
        return {
            name: _table(folder, source.coin, narrowed(settings.engine), params)
            for name, narrowed in widths.items()
        }
    except ConfigError as error:
        return {"skipped": str(error)}


def _table(folder: Path, coin: str, params: EngineParams, play: BacktestParams) -> Json:
    report = compare(folder, coin, params, VARIANTS, params=play)
    tree: Any = to_json(report)
    return {"minutes": report.minutes, "variants": tree["variants"]}


def lines(found: Json, sources: tuple[Source, ...] = SOURCES) -> list[str]:
    """The page."""
    rows: list[list[str]] = []
    skipped: list[str] = []
    for source in sources:
        key = source.key
        told = found.get(key)
        if told is None or "skipped" in told:
            skipped.append(f"- **{key}: skipped**, {told['skipped'] if told else 'not played'}")
            continue
        for width, one in told.items():
            for name, figures in one["variants"].items():
                rows.append([key, width, f"{one['minutes']:.0f}", name, *_cells(figures)])
    notes = [f"- {it.folder} {it.coin}: {it.note}" for it in sources if it.note]
    head = ("recording", "width", "min", "variant", "fills", "profit $", "less base",
            "adverse 1 s", "5 s", "30 s", "largest q", "end q", "drawdown %", "opposed",
            "two-sided, calm", "requests", "")  # fmt: skip
    return [
        "`mmbot backtest --variants`, one play of each: no figure has an error, and fills of",
        "one sweep are one event. Read the number of fills first; a row of fewer than",
        f"{LEAST_FILLS} is marked. `configs/hype.toml`; narrowest: the least half spread that its",
        "adverse prior allows. Orders rest behind the recorded queue, and reach the venue after",
        "200 ms. Nothing of HYPE's own book is among the recordings; WLFI is the nearest.",
        "",
        *table(head, rows),
        "",
        *notes,
        *skipped,
        STANDX,
    ]


STANDX: Final = (
    "- **standx-btc-l2-20260106: skipped**, its files are Parquet, which nothing among the\n"
    "  dependencies reads. (Its books are rounded, a third to a half of them locked, and its\n"
    "  trades have no side.)"
)


def _cells(figures: Json) -> list[str]:
    def mean(metric: str, spec: str) -> str:
        return number(figures[metric]["mean"], spec)

    fills = figures["fills"]["mean"]
    return [
        f"{fills:.0f}",
        mean("pnl_usd", "+.3f"),
        mean("pnl_diff_usd", "+.3f"),
        mean("markout_1s_bps", "+.2f"),
        mean("markout_5s_bps", "+.2f"),
        mean("markout_30s_bps", "+.2f"),
        mean("max_q_frac", ".2f"),
        mean("final_q_frac", ".2f"),
        mean("max_drawdown_pct", ".2f"),
        mean("opposed_frac", ".0%"),
        mean("calm_two_sided_frac", ".0%"),
        mean("requests", ".0f"),
        "" if fills >= LEAST_FILLS else "few fills",
    ]
