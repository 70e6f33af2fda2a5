"""The self-test: silent on a healthy program, never silent on a broken one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from core.driven import Driven
from core.mutants import NOT_READ, Border, Change, Mutant, Mutation, fields, plant
from mmbot.config import Config, load
from mmbot.core.quoter import Quote
from mmbot.core.risk import gate
from mmbot.core.types import Instrument, Side
from mmbot.errors import CheckError, ConfigError
from mmbot.runtime import proving
from mmbot.runtime.selftest import ROWS, Report, Result, Status, refuse_unless_well, run_selftest
from mmbot.runtime.selftest.report import lines
from mmbot.runtime.trader import Trader
from support import IS_THOROUGH, often

CONFIGS = Path(__file__).resolve().parent.parent.parent / "configs"
SHIPPED = sorted(path.name for path in CONFIGS.glob("*.toml"))
CAPPED = ("quoter.shift_bps_max=5",)

FIELD_ROWS: dict[str, tuple[str, ...]] = {
    # estimator to quoter
    "vol_bps_rt_s": ("widening/long",),
    "a_per_s": ("funding/paid",),
    "k_per_bp": ("fee/up", "adverse/informed"),
    "a0_bps": ("fee/up", "adverse/informed"),
    "a1": ("fee/up",),
    "drift.mean_bps_per_s": ("drift/up", "drift/down"),
    "stance.response_bps": ("opposed/long",),
    "stance.fade": ("opposed/long",),
    "cascade.bid_bps": ("cascade/bids",),
    "cascade.ask_bps": ("cascade/asks",),
    "cascade.hold_bid_ticks": ("hold/bids",),
    "cascade.hold_ask_ticks": ("hold/asks",),
    "funding_bps_per_h": ("funding/paid", "funding/earned"),
    "reference_bps": ("reference/above", "reference/below"),
    # quoter to ladder
    "fee_bps": ("fee/up",),
    "adverse_selection_bps": ("fee/up",),
    "glft_bps": ("fee/up",),
    "half_min_bps": ("half_min", "fee/up"),
    "inventory_skew_bps": ("inventory_skew/long",),
    "drift_bps": ("drift/up",),
    "funding_bps": ("funding/paid",),
    "shift_cap_bps": ("shift_cap",),
    "opposed_bid_bps": ("opposed/long",),
    "opposed_ask_bps": ("opposed/short",),
    "widening_bid_bps": ("widening/long",),
    "widening_ask_bps": ("widening/short",),
    "guard_bid_bps": ("guard/long",),
    "guard_ask_bps": ("guard/short",),
    "cascade_bid_bps": ("cascade/bids",),
    "cascade_ask_bps": ("cascade/asks",),
    "hold_bid_bps": ("hold/bids",),
    "hold_ask_bps": ("hold/asks",),
    "touch_bid_bps": ("reducing_floor/short",),
    "touch_ask_bps": ("reducing_floor/long",),
    "floor_bps": ("floor",),
    "reducing_floor_bps": ("reducing_floor/long",),
}
"""Rows in which a field must show."""

SLOW = frozenset({"a_per_s", "k_per_bp", "a0_bps", "a1"})
"""Move by a few percent a minute by design: a minute late they are what they were."""
STILL = frozenset({"a_per_s", "a1"})
"""What these can move in minutes changes a quote by less than the wire can show."""

NO_EFFECT = frozenset({("stance.response_bps", Change.FLIP)})
"""The quoter reads the size of the answer; its side follows from the position."""

MOVES = (Change.ZERO, Change.FLIP, Change.TENTH)


def config_for(field: str) -> Config:
    """The shipped configuration in which a field acts."""
    if field == "shift_cap_bps":
        return load(CONFIGS / "hyna-hype.toml", CAPPED)
    if field == "reference_bps":
        return load(CONFIGS / "hyna-hype.toml")
    return load(CONFIGS / "emulator.toml")


def deaf(trader: Trader) -> None:
    """Silence the vitals: what catches a mutant here is the wire alone."""
    engine = cast("Any", trader.engine)
    engine._vitals = SimpleNamespace(
        is_well=True, is_sound=True, observe=lambda record, facts: (), reset_gap=lambda: None
    )


def planted(mutant: Mutant) -> Callable[[Trader], None]:
    """A program with a mutant in it."""

    def tamper(trader: Trader) -> None:
        deaf(trader)
        host = SimpleNamespace(engine=trader.engine, start_ns=trader.started_ns)
        plant(cast("Driven", host), mutant)

    return tamper


def caught(field: str, tamper: Callable[[Trader], None]) -> bool:
    """Whether one of the rows of a field fails."""
    return any(
        run_selftest(config_for(field), rows=[row], tamper=tamper).failed
        for row in FIELD_ROWS[field]
    )


def changes(field: str) -> Iterator[Change]:
    """Those that can make a difference to an order."""
    for change in Change:
        if (field, change) in NO_EFFECT:
            continue
        is_hidden = field in SLOW if change is Change.LATE else field in STILL
        if change in MOVES or not is_hidden:
            yield change


def tried(field: str, among: Sequence[str], normally: int) -> list[Change]:
    """
    So many of the changes of a field, or all of them.

    From one field to the next they move on by one, so that every change is tried of some fields.
    """
    every = list(changes(field))
    first = among.index(field)
    count = often(min(normally, len(every)), thoroughly=len(every))
    return [every[(first + n) % len(every)] for n in range(count)]


# -- healthy ------------------------------------------------------------------------------------


def parts(count: int) -> tuple[tuple[str, ...], ...]:
    """The rows dealt out: a term that is shown both ways is in two of the parts."""
    return tuple(tuple(row.name for row in ROWS[first::count]) for first in range(count))


HALVES, THIRDS = parts(2), parts(3)
PLAYED = {
    "emulator.toml": THIRDS[0],
    "hip3.toml": THIRDS[1],
    # One program to the self-test: together they have all rows.
    "hype.toml": HALVES[0],
    "paper.toml": HALVES[1],
}
"""Rows of the shipped configurations of which not all are played."""
TOGETHER = "hyna-hype.toml"
"""The one with another market that leads: no other configuration plays the rows of it."""


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_configuration_passes(name: str) -> None:
    """
    A test that fails on a healthy program is switched off by the first person who sees it.

    A part of the rows by turns, and all of the one whose terms are all on.
    """
    rows = None if IS_THOROUGH or name == TOGETHER else PLAYED[name]
    report = run_selftest(load(CONFIGS / name), rows=rows)

    assert [f"{row.name}: {row.text}" for row in report.failed] == []
    assert report.is_well
    assert len(report.rows) == len(ROWS if rows is None else rows)
    assert report.cpu_s < 60


def test_the_bound_of_all_shifts_is_tested_where_it_can_bind() -> None:
    """With the shipped bounds it cannot, so nothing else would play that row."""
    report = run_selftest(load(CONFIGS / "hyna-hype.toml", CAPPED), rows=["shift_cap"])

    assert [row.status for row in report.rows] == [Status.OK]


@pytest.mark.parametrize(
    ("key", "rows"),
    [
        ("quoter.drift_x_max=0", ("drift/up", "drift/down")),
        ("quoter.funding_bps_max=0", ("funding/paid", "funding/earned")),
        ("quoter.widening_gain=0", ("widening/long", "widening/short")),
        ("quoter.guard_bps=0", ("guard/long", "guard/short")),
        ("stance.response_bps_max=0", ("opposed/long", "opposed/short")),
        ("cascade.gain=0", ("cascade/bids", "cascade/asks", "hold/bids", "hold/asks")),
    ],
)
def test_a_term_that_is_switched_off_is_off_and_no_failure(key: str, rows: tuple[str, ...]) -> None:
    """And the table names the key."""
    report = run_selftest(load(CONFIGS / "emulator.toml", [key]), rows=rows)

    assert [row.status for row in report.rows] == [Status.OFF] * len(rows)
    assert all(key.partition("=")[0] in row.text for row in report.rows)


def test_a_run_may_begin_only_after_rows_that_were_played_and_did_not_fail() -> None:
    """A report of nothing proves nothing."""
    row = Result("a", "t", "p", "buy", False, 1.0, 0.1, 1.0, Status.OK)
    refuse_unless_well(Report("HYPE", (row,), 1.0))
    with pytest.raises(CheckError, match="no row was played"):
        refuse_unless_well(Report("HYPE", (), 1.0))
    failed = msgspec.structs.replace(row, name="skew/long", status=Status.FAILED, text="no order")
    with pytest.raises(CheckError, match="skew/long: no order"):
        refuse_unless_well(Report("HYPE", (row, failed), 1.0))


def test_a_live_run_does_not_begin_when_a_row_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where money is real; on the emulator and the testnet nothing is asked."""
    bad = Result("skew", "t", "p", "buy", False, 1.0, 0.1, 0.0, Status.FAILED, "dead")
    monkeypatch.setattr(proving, "run_selftest", lambda *_, **__: Report("HYPE", (bad,), 1.0))
    instrument = Instrument(coin="HYPE", asset_id=0, sz_decimals=2, max_leverage=10)
    config = load(CONFIGS / "hype.toml")
    proving.prove(config, instrument)
    with pytest.raises(CheckError, match="skew: dead"):
        proving.prove(config.model_copy(update={"mode": "live"}), instrument)


def test_a_live_run_proves_itself_with_the_instrument_of_the_venue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A coin that the emulated exchange does not list, with its own decimals."""
    proofs: list[tuple[Instrument, Report]] = []
    rows = None if IS_THOROUGH else ("half_min", "inventory_skew", "guard", "touch", "cascade")

    def proved(config: Config, *, instrument: Instrument) -> Report:
        proofs.append((instrument, run_selftest(config, instrument=instrument, rows=rows)))
        return proofs[-1][1]

    monkeypatch.setattr(proving, "run_selftest", proved)
    instrument = Instrument(coin="ZZZ", asset_id=0, sz_decimals=1, max_leverage=5)
    config = load(CONFIGS / "hype.toml", ["instrument.coin='ZZZ'", "risk.leverage=5"])
    proving.prove(config.model_copy(update={"mode": "live"}), instrument)

    ((given, report),) = proofs
    assert given == instrument
    assert report.coin == "ZZZ"
    assert report.rows
    assert Status.FAILED not in {row.status for row in report.rows}


WHOLE = tuple(row.name for row in ROWS)
SETTINGS: dict[tuple[str, ...], tuple[str, ...]] = {
    # With these everything can be shown.
    ("ladder.gap_growth=1.5", "adverse.a1_max=0", "quoter.half_spread_bps_min=3"): THIRDS[0],
    ("instrument.coin='BTC'", "risk.capital_usd=1e7", "ladder.is_on_grid=false"): THIRDS[1],
    # With these less, and of a sweep nothing.
    ("ladder.rungs=1", "cascade.danger_p=0.5"): THIRDS[2],
    ("volatility.prior_bps_rt_s=3", "risk.max_position_usd=100"): THIRDS[0],
    # Lines so far apart that the way from one to the next is long.
    ("ladder.spacing_vol_s=600",): ("half_min", "book/moved", "touch/long", "cascade/bids"),
}
"""Each set with the rows that are always played on it."""
CASES = [*SETTINGS.items(), *(((key,), WHOLE) for keys in SETTINGS for key in keys if IS_THOROUGH)]


@pytest.mark.parametrize(("keys", "rows"), CASES, ids=["+".join(keys) for keys, _ in CASES])
def test_other_settings_of_a_healthy_program_pass(
    keys: tuple[str, ...], rows: tuple[str, ...]
) -> None:
    """What cannot be shown with them is unseen, and no failure."""
    report = run_selftest(load(CONFIGS / "emulator.toml", keys), rows=rows)

    assert [f"{row.name}: {row.text}" for row in report.failed] == []
    assert Status.OK in {row.status for row in report.rows}


@pytest.mark.parametrize("capital_usd", [15_000, 1_000_000, 10_000_000])
def test_a_large_account_finds_a_touch_as_large(capital_usd: float) -> None:
    """A position that cannot be had on the stage would keep every such account from trading."""
    config = load(CONFIGS / "hype.toml", [f"risk.capital_usd={capital_usd}"])
    report = run_selftest(config, rows=["guard", "touch", "hold"])

    assert [(row.status, row.text) for row in report.rows] == [(Status.OK, "")] * 6


@pytest.mark.parametrize("coin", ["hyna:HYPE", "flx:HYPE"])
def test_a_twin_that_leads_is_alive_on_the_stage(coin: str) -> None:
    """Delisted there, or unknown to it: the run asks the venue, the stage lists it either way."""
    config = load(CONFIGS / "hype.toml", [f"reference.coin='{coin}'"])
    report = run_selftest(config, rows=["reference", "book"])

    assert [(row.status, row.text) for row in report.rows] == [(Status.OK, "")] * 4
    assert all(abs(row.observed_bps or 0.0) > 1.0 for row in report.rows)


def test_a_market_at_another_price_leads_by_its_moves_alone() -> None:
    """What a coin costs is no lead: one of 84,000 USD beside one of 9.5."""
    config = load(CONFIGS / "hype.toml", ["reference.coin='BTC'"])
    report = run_selftest(config, rows=["half_min", "reference"])

    assert [(row.status, row.text) for row in report.rows] == [(Status.OK, "")] * 3


@pytest.mark.parametrize(
    ("key", "row"),
    [
        ("book.micro_bps_max=0.2", "book/leaning"),
        ("quoter.half_spread_bps_min=30", "fee/up"),
        ("quoter.funding_bps_max=0.2", "funding/paid"),
    ],
)
def test_a_row_that_would_look_the_same_with_its_term_dead_is_unseen(key: str, row: str) -> None:
    """It says ok of something else: that nothing moved where nothing was to move."""
    report = run_selftest(load(CONFIGS / "emulator.toml", [key]), rows=[row])

    assert [result.status for result in report.rows] == [Status.UNSEEN]
    assert "what is changed moves the quote by" in report.rows[0].text


def test_a_side_in_danger_must_be_empty() -> None:
    """The pull is asked for by the model as well: orders that stay there are a failure."""
    config = load(CONFIGS / "emulator.toml", ["cascade.danger_p=0.5"])
    rows = ["cascade/bids"]
    assert [row.status for row in run_selftest(config, rows=rows).rows] == [Status.UNSEEN]

    def careless(trader: Trader) -> None:
        deaf(trader)
        engine = cast("Any", trader.engine)
        quote = engine._quoter.quote
        engine._quoter = SimpleNamespace(
            quote=lambda **figures: msgspec.structs.replace(
                quote(**figures), pulls_bid=False, pulls_ask=False
            ),
            base_bps=8.0,
        )

    failed = run_selftest(config, rows=rows, tamper=careless).failed
    assert ["rests on a side in danger" in row.text for row in failed] == [True]


def test_an_unknown_row_is_refused() -> None:
    """A test of nothing must not look like one that passed."""
    with pytest.raises(ConfigError, match="no row 'skew'"):
        run_selftest(load(CONFIGS / "emulator.toml"), rows=["skew"])


# -- broken -------------------------------------------------------------------------------------


def test_the_table_names_the_row_that_failed() -> None:
    """What a person must know first."""
    mutant = Mutant(Border.LADDER, "inventory_skew_bps", Change.FLIP)
    report = run_selftest(
        load(CONFIGS / "emulator.toml"), rows=["inventory_skew/long"], tamper=planted(mutant)
    )

    assert not report.is_well
    text = "\n".join(lines(report))
    assert "FAILED: inventory_skew/long: after: the buy order is" in text
    assert "1 failed" in text


VIEW = sorted(field for field in FIELD_ROWS if field in fields(Border.VIEW))
LADDER = sorted(field for field in FIELD_ROWS if field in fields(Border.LADDER))
GATE = sorted(
    field
    for field in LADDER
    # A floor moves an order only through the ladder; the gate's own is the second of two.
    if "floor" not in field
)


@pytest.mark.parametrize("field", VIEW)
def test_a_mutant_between_estimators_and_quoter_is_caught_on_the_wire(field: str) -> None:
    """Zeroed, turned round, a tenth, frozen, a minute late; two of these in turn."""
    missed = [
        str(mutant)
        for change in tried(field, VIEW, 2)
        if not caught(field, planted(mutant := Mutant(Border.VIEW, field, change)))
    ]
    assert missed == []


@pytest.mark.parametrize("field", LADDER)
def test_a_mutant_between_quoter_and_ladder_is_caught_on_the_wire(field: str) -> None:
    """One of the same for every term of the quote; the record may say what it likes."""
    # A floor that is broken for the ladder alone is kept by the gate: it must be broken for both.
    border = Border.QUOTE if field == "floor_bps" else Border.LADDER
    missed = [
        str(mutant)
        for change in tried(field, LADDER, 1)
        if not caught(field, planted(mutant := Mutant(border, field, change)))
    ]
    assert missed == []


@pytest.mark.parametrize("border", ["view", "ladder", "gate"])
def test_every_change_is_tried_of_several_fields(border: str) -> None:
    """Whatever is left to the thorough tests, no kind of mutant is."""
    among, count = {"view": (VIEW, 2), "ladder": (LADDER, 1), "gate": (GATE, 1)}[border]
    every = [change for field in among for change in tried(field, among, count)]
    assert all(every.count(change) >= 2 for change in Change)


def test_every_term_that_the_ladder_reads_has_a_row() -> None:
    """A term that is added to the quote must be shown, or the self-test does not know it."""
    assert set(fields(Border.LADDER)) <= set(FIELD_ROWS)
    assert not NOT_READ & set(FIELD_ROWS)
    assert {row for rows in FIELD_ROWS.values() for row in rows} <= {row.name for row in ROWS}


# -- the gate -----------------------------------------------------------------------------------


class _Gate:
    """A gate that lets orders out at prices without a part of one term."""

    def __init__(self, mutant: Mutant, start_ns: int, inner: Any) -> None:
        self.mutation = Mutation(mutant, start_ns)
        self.inner = inner
        self.shift: dict[Side, float] = dict.fromkeys(Side, 0.0)

    def see(self, now_ns: int, quote: Quote) -> None:
        changed = self.mutation.change(now_ns, quote)
        for side in Side:
            bps = quote.depth_bps(side) - changed.depth_bps(side)
            self.shift[side] = side * bps * 1e-4 * quote.fair_ticks

    def __call__(self, diff: Any, orders: Any, view: Any, instrument: Any, now_ns: int) -> Any:
        def moved(order: Any) -> Any:
            px = order.px_ticks + self.shift[order.side]
            valid = instrument.floor_ticks(px) if order.side > 0 else instrument.ceil_ticks(px)
            return msgspec.structs.replace(order, px_ticks=valid)

        diff = msgspec.structs.replace(
            diff,
            moves=tuple(moved(order) for order in diff.moves),
            places=tuple(moved(order) for order in diff.places),
        )
        return self.inner(diff, orders, view, instrument, now_ns)


@pytest.mark.parametrize("field", GATE)
def test_a_mutant_at_the_gate_is_caught_on_the_wire(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orders that leave without their term, however well it was worked out."""
    missed = []
    for change in tried(field, GATE, 1):

        def tamper(trader: Trader, change: Change = change) -> None:
            deaf(trader)
            mutant = Mutant(Border.LADDER, field, change)
            broken = _Gate(mutant, trader.started_ns, gate)
            engine = cast("Any", trader.engine)
            quote = engine._quoter.quote

            def seen(*, now_ns: int, **figures: Any) -> Quote:
                made: Quote = quote(now_ns=now_ns, **figures)
                broken.see(now_ns, made)
                return made

            engine._quoter = SimpleNamespace(quote=seen, base_bps=8.0)
            monkeypatch.setattr("mmbot.core.engine.decide.gate", broken)

        if not caught(field, tamper):
            missed.append(change.value)
    assert missed == []
