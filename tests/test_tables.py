"""What the tables decide and keep: demands on samples with known answers, and resuming."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.tables import bands, direction, inventory, pullback
from benchmarks.tables.binance import convert
from benchmarks.tables.kept import Clock, Kept
from benchmarks.tables.sampling import KEPT, Case, Lab, Samples, world

from mmbot.core.events import Bbo, Book, Trades
from mmbot.emulator.instruments import listed_instrument
from mmbot.emulator.recordings import read_recording
from mmbot.runtime.lab.measure import Outcome
from mmbot.runtime.lab.statistics import Verdict
from mmbot.runtime.lab.trace import Row, Trace
from mmbot.runtime.workers import Workers

# -- bands -----------------------------------------------------------------------------------------


def samples(
    scenario: str,
    seeds: int = 100,
    *,
    scale: float = 0.4,
    shift: float = 0.28,
    fills: float = 30.0,
    quoted: float = 0.97,
) -> Samples:
    """`base` earns 0.3 with a deviation of 1; `all` is `scale` of its noise around `shift`."""
    noise = np.random.default_rng(5).normal(0.0, 1.0, seeds)
    noise -= noise.mean()

    def variant(pnl: Any, filled: float) -> dict[str, list[float | None]]:
        columns: dict[str, list[float | None]] = {metric: [0.0] * seeds for metric in KEPT}
        columns |= {"pnl_usd": pnl.tolist(), "fills": [filled] * seeds}
        columns["calm_two_sided_frac"] = [quoted + 0.001 * (n % 2) for n in range(seeds)]
        return columns

    return Samples(
        world(scenario),
        8.0,
        {
            "base": variant(0.3 + noise, 32.0),
            "all": variant(shift + scale * noise, fills),
            "control": variant(0.25 + 0.9 * noise, 30.0),
        },
    )


def verdicts(it: Samples) -> dict[str, Verdict]:
    return {one.text: one.verdict for one in bands.judge(it)}


def test_a_quiet_world_is_met_by_little_cost_and_half_the_deviation() -> None:
    """And by what is earned by quoting, not by standing aside."""
    found = verdicts(samples("two-sided", 400, shift=0.32))
    assert set(found.values()) == {Verdict.MET}
    assert len(found) == 5


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({"shift": -0.2}, "costs 20 % of the mean at most"),
        ({"scale": 0.7}, "half the deviation at most"),
        ({"fills": 20.0}, "70 % of the fills at least"),
        ({"quoted": 0.8}, "two-sided 90 % of the time while |x| < 0.2 at least"),
        ({"scale": 1.5}, "worst 5 % above that of control"),
    ],
)
def test_each_demand_can_be_missed(changes: dict[str, float], missed: str) -> None:
    """A table that can only say yes says nothing; one miss costs the world."""
    it = samples("two-sided", 400, **changes)
    assert verdicts(it)[missed] is Verdict.MISSED
    assert bands.verdict_of(it) is Verdict.MISSED


def test_few_seeds_decide_nothing() -> None:
    """However clear they look: a tail of one session has no interval."""
    found = verdicts(samples("two-sided", 15, shift=0.32))
    assert set(found.values()) == {Verdict.UNDECIDED}
    forty = verdicts(samples("two-sided", 40, shift=0.32))
    assert forty["half the deviation at most"] is Verdict.MET
    assert forty["worst 5 % above that of control"] is Verdict.UNDECIDED


def test_a_recorded_path_may_be_sat_out_but_its_loss_may_not() -> None:
    """Fills and quoted time are not asked for there; a third of the loss is."""
    it = samples("feb24", 200, fills=1.0, quoted=0.1)
    loss = np.full(200, -0.6)
    it.variants["base"]["pnl_usd"] = loss.tolist()
    it.variants["control"]["pnl_usd"] = loss.tolist()
    it.variants["all"]["pnl_usd"] = (loss / 4).tolist()
    assert verdicts(it) == {
        "a third of the loss at most": Verdict.MET,
        "worst 5 % above that of control": Verdict.MET,
    }
    it.variants["all"]["pnl_usd"] = (loss / 2).tolist()
    assert bands.verdict_of(it) is Verdict.MISSED


def test_a_world_without_a_control_is_not_met() -> None:
    """What was not measured is not passed over."""
    it = samples("two-sided", 400, shift=0.32)
    del it.variants["control"]
    assert bands.verdict_of(it) is Verdict.UNDECIDED


# -- keeping ---------------------------------------------------------------------------------------


class Counting(Workers):
    """Counts sessions instead of running them."""

    def __init__(self) -> None:
        super().__init__(None, 1)
        self.seeds: list[int] = []

    def each(self, make: Any, given: Iterable[Any]) -> Any:
        for plan in given:
            self.seeds.append(plan.seed)
            pnl = plan.seed / 10
            yield Outcome(
                plan.seed, pnl, 0, 0.0, 0.0, 3, 0.0, None, 1.0, 1.0, 0.0, 1, 1, 1.0, 9, 0, 0, 60.0
            )


def test_a_second_run_does_what_the_first_did_not(tmp_path: Path) -> None:
    """An hour's work must not begin anew because it took longer than an hour."""
    case = Case("short", "two-sided")
    first, second = Counting(), Counting()
    Lab(Kept(tmp_path, "abc"), first, 1).sample(case, ("base", "all"), 10, Clock(1e6))
    assert first.seeds == [*range(1, 11)] * 2
    found = Lab(Kept(tmp_path, "abc"), second, 1).sample(case, ("base", "all"), 20, Clock(1e6))
    assert second.seeds == [*range(11, 21)] * 2
    assert found.seeds("base", "all") == 20
    assert found.paired("pnl_usd", "all")[0].tolist() == [seed / 10 for seed in range(1, 21)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda told: told["variants"]["all"]["pnl_usd"].pop(0),
        lambda told: told["variants"]["all"].pop("luck_usd"),
        lambda told: told["variants"]["all"].update(fills="x"),
        lambda told: told.pop("variants"),
        lambda told: told.pop("sets"),
        lambda told: told.update(first_seed=99),
    ],
)
def test_damaged_sessions_are_run_again(tmp_path: Path, damage: Any) -> None:
    """A row that is missing would pair every later seed with another market."""
    case = Case("short", "two-sided")
    Lab(Kept(tmp_path, "abc"), Counting(), 1).sample(case, ("base", "all"), 10, Clock(1e6))
    path = tmp_path / "lab" / "short.json"
    told = json.loads(path.read_text())
    damage(told)
    path.write_text(json.dumps(told))
    again = Counting()
    found = Lab(Kept(tmp_path, "abc"), again, 1).sample(case, ("base", "all"), 10, Clock(1e6))
    assert again.seeds == [*range(1, 11)] * 2
    assert found.paired("pnl_usd", "all")[0].tolist() == [seed / 10 for seed in range(1, 11)]


@pytest.mark.parametrize("text", ["[]", "5", "null", "{", "\ufffd\udcff"])
def test_a_piece_that_cannot_be_read_is_measured_again(tmp_path: Path, text: str) -> None:
    """Whatever a full disk or an editor left."""
    (tmp_path / "speed.json").write_bytes(text.encode(errors="surrogateescape"))
    assert Kept(tmp_path, "abc").load("speed") is None


def test_what_another_commit_left_is_not_taken(tmp_path: Path) -> None:
    """A table of two engines is a table of none."""
    Kept(tmp_path, "abc").save("speed", {"rows": []})
    assert Kept(tmp_path, "abc").load("speed") == {"commit": "abc", "rows": []}
    assert Kept(tmp_path, "abd").load("speed") is None
    (tmp_path / "speed.json").write_text("{")
    assert Kept(tmp_path, "abc").load("speed") is None


def test_nothing_is_begun_without_time(tmp_path: Path) -> None:
    """The budget is a promise."""
    pool = Counting()
    found = Lab(Kept(tmp_path, "abc"), pool, 1).sample(world("two-sided"), ("base",), 10, Clock(0))
    assert pool.seeds == []
    assert found.seeds("base") == 0


# -- direction -------------------------------------------------------------------------------------


def trace(xs: dict[int, float], opposed_from_s: int, rate: float = 0.1) -> Trace:
    """A mid that falls to 540 s and rises after; the position changes at the times given."""
    rows, x = [], 0.0
    for at_s in range(1000):
        x = xs.get(at_s, x)
        is_opposed = at_s >= opposed_from_s and x < 0
        mid = rate * abs(at_s - 540)
        rows.append(Row(float(at_s), mid, 0.0, None, x, is_opposed, 0.0, None, None, False, False))
    outcome = Outcome(1, 0, 0, 0, 0, 0, 0, None, None, None, 0, 1, 1, None, 0, 0, 0, 1000.0)
    return Trace(outcome, tuple(rows))


def test_the_delay_counts_from_the_first_short_position_in_the_rise() -> None:
    """A short of the fall does not count before the rise, nor a small one at all."""
    found = direction.detect(trace({100: -0.03, 600: -0.2}, 690))
    assert found == direction.Detection(60.0, 90.0, 399.0)
    assert direction.detect(trace({100: -0.2}, 560)) == direction.Detection(1.0, 19.0, 458.0)
    assert direction.detect(trace({600: -0.04}, 610)) is None
    assert direction.detect(trace({600: 0.5}, 610)) is None


def test_a_position_that_was_gone_is_not_called_late() -> None:
    """It is counted apart: nobody can be warned of what he does not hold."""
    found = direction.detect(trace({600: -0.2, 640: 0.0}, 690))
    assert found == direction.Detection(60.0, None, 40.0)


# -- single answers --------------------------------------------------------------------------------


def test_a_configuration_misses_what_it_misses() -> None:
    """Each demand by itself; a side that is pulled is as far as can be."""
    good = {"reducing_at_touch": True, "grows_045": 1.6, "grows_080": None, "guard_090": 1.1}
    assert inventory.faults(good) == []
    for key, bad in (("reducing_at_touch", False), ("grows_045", 1.4), ("grows_080", 2.4),
                     ("guard_090", 1.0)):  # fmt: skip
        assert len(inventory.faults({**good, key: bad})) == 1


def test_pullback_is_measured_off_the_orders() -> None:
    """In full right after the sweep, and gone where the asks reduce the position."""
    pair = pullback.Pair()
    depth = pair.sweep()
    pair.until(2)
    row = pair.row()
    assert row.pulled_bps == pytest.approx(depth, abs=pullback.OFF_BPS)
    assert row.expected_bps == pytest.approx(depth)
    pair.buy_back(0.2)
    pair.until(10)
    assert pair.row().pulled_bps == pytest.approx(0.0, abs=pullback.OFF_BPS)


# -- recordings ------------------------------------------------------------------------------------


def test_a_raw_stream_becomes_a_recording(tmp_path: Path) -> None:
    """Levels by their updates, none beyond the touch, trades with the taker's side."""
    ladder = [[f"{60000 - n / 10:.1f}", "1.5"] for n in range(25)]
    asks = [[f"{60000.1 + n / 10:.1f}", "2.5"] for n in range(25)]
    stream: list[tuple[int, dict[str, Any]]] = [
        (1, {"lastUpdateId": 1, "E": 1, "T": 1, "bids": ladder, "asks": asks}),
        (2, {"data": {"e": "bookTicker", "b": "60000.0", "B": "1.5", "a": "60000.1", "A": "2.5",
                      "T": 1000}}),
        (3, {"data": {"e": "depthUpdate", "T": 1001, "b": [["60000.0", "0.7"]],
                      "a": [["60000.1", "0.000"]]}}),
        (4, {"data": {"e": "trade", "p": "60000.1", "q": "0.5", "m": False, "t": 9, "T": 1002}}),
        (5, {"data": {"e": "trade", "p": "0", "q": "0", "m": True, "t": 10, "T": 1002}}),
    ]  # fmt: skip
    raw = tmp_path / "raw.gz"
    with gzip.open(raw, "wt") as file:
        file.writelines(
            f"{1_700_000_000_000_000_000 + n * 10**9} {json.dumps(it)}\n" for n, it in stream
        )
    convert([raw], tmp_path, "BTC")
    found = read_recording(tmp_path, listed_instrument("BTC")[0])
    kinds = [type(frame) for frame in found.frames]
    assert kinds.count(Book) == kinds.count(Trades) == 1
    assert Bbo in kinds
    book = next(frame for frame in found.frames if isinstance(frame, Book))
    instrument = listed_instrument("BTC")[0]
    assert (len(book.bids), len(book.asks)) == (20, 20)
    assert instrument.px(book.bids[0].px_ticks) == 60000.0
    assert instrument.sz(book.bids[0].sz_lots) == pytest.approx(0.7)
    assert instrument.px(book.asks[0].px_ticks) == pytest.approx(60000.2)
    trades = next(frame for frame in found.frames if isinstance(frame, Trades))
    assert trades.sides[0] > 0
