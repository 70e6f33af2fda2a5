"""
The market of a run played again: us taken out of it, what the simulation is worth, what changes.

Every run here is the whole program over the pipe, and its journal is all that is looked at.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from mmbot.cli.app import build
from mmbot.config import load
from mmbot.core.engine import EngineParams
from mmbot.core.events import (
    Acked,
    Bbo,
    Book,
    Level,
    LinkUp,
    Request,
    Snapshot,
    Trade,
    Trades,
)
from mmbot.core.footprint import Footprint, OwnLevels
from mmbot.core.quoter import TERMS
from mmbot.core.types import NS_PER_MS, NS_PER_S, Fees, Instrument, Side
from mmbot.emulator.tape import RecordedVenueParams
from mmbot.errors import ConfigError
from mmbot.journal.blocks import Packer, file_head, row_bytes
from mmbot.journal.reader import Journal
from mmbot.journal.records import Kind, Output, decode
from mmbot.runtime.replay import replay
from mmbot.runtime.whatif import figures
from mmbot.runtime.whatif.compare import MECHANISMS, Asked, Counterfactual, Questions
from mmbot.runtime.whatif.fold import read_market
from mmbot.runtime.whatif.own import Desk, at_next_price, recording_of, without_taken, without_us
from mmbot.runtime.whatif.render import lines
from mmbot.runtime.whatif.simulate import Simulation
from runtime.pipe_rig import CONFIG, PipeRun
from runtime.report_rig import (
    WIDE,
    Fault,
    cut,
    faults,
    inherit,
    kill,
    play,
    stall,
    step_clock,
    take,
)

RUNNER = CliRunner()
WITHIN = 1.25
"""Factor between the fills of a run and those of its baseline that these runs stay within."""


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many trades in a market without a trend; not to be changed."""
    folder = tmp_path_factory.mktemp("busy")
    market = Fault((), market={"a_per_s": 4.0})
    play(folder, scenario="two-sided", seed=5, span_s=330, fault=market)
    return folder


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Minutes of sweeps with lost connections and refusals; not to be changed."""
    folder = tmp_path_factory.mktemp("eventful")
    acts = ((0.2, cut), (0.4, faults(drop=3)), (0.5, stall(12)), (0.7, cut))
    play(folder, seed=5, span_s=200, acts=acts)
    return folder


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three quarters of a minute with a lost connection; not to be changed."""
    folder = tmp_path_factory.mktemp("brief")
    play(folder, seed=5, span_s=45, acts=((0.4, cut),))
    return folder


@pytest.fixture(scope="module")
def busy_questions(busy: Path) -> Questions:
    """Read and simulated as it was once."""
    return Questions(busy)


@pytest.fixture(scope="module")
def eventful_questions(eventful: Path) -> Questions:
    """Read and simulated as it was once."""
    return Questions(eventful)


@pytest.fixture(scope="module")
def asked(busy_questions: Questions) -> Counterfactual:
    """The run with a much greater risk aversion."""
    return busy_questions.change(["quoter.gamma_per_bp=250x"])


def typed(*arguments: str) -> Result:
    """`mmbot replay` as it is typed."""
    return RUNNER.invoke(build(["replay"]), ["replay", *arguments])


def refused(*arguments: str) -> str:
    """What a command is refused with."""
    done = typed(*arguments)
    assert done.exit_code == 1
    assert isinstance(done.exception, Exception)
    assert not isinstance(done.exception, SystemExit)
    return str(done.exception)


# -- our own footprint --------------------------------------------------------------------------


def test_our_orders_are_known_as_the_engine_of_the_run_knew_them(
    eventful: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frame by frame the same own levels as the engine took out, through every lost connection."""
    seen: list[tuple[int, dict[int, Any]]] = []
    plain = Footprint.at

    def at(self: Footprint, recv_ns: int) -> OwnLevels:
        found = plain(self, recv_ns)
        seen.append((recv_ns, dict(found)))
        return found

    monkeypatch.setattr(Footprint, "at", at)
    assert replay(eventful).is_identical
    by_engine = list(seen)
    seen.clear()
    read_market(Journal.of(eventful))

    assert seen == by_engine
    assert sum(bool(levels) for _, levels in seen) > 500


def test_the_market_of_a_run_is_its_own_less_what_was_ours(busy: Path) -> None:
    """Every book of the journal is there, with nothing added and what we rested taken out."""
    market = read_market(Journal.of(busy))
    shown = [
        decode(entry.kind, entry.payload)
        for entry in Journal.of(busy).entries()
        if entry.kind == Kind.BOOK
    ]
    left = [frame for frame in market.recording.frames if isinstance(frame, Book)]
    smaller = gone = 0
    for raw, frame in zip(shown, left, strict=False):
        assert isinstance(raw, Book)
        assert raw.recv_ns == frame.recv_ns
        for before, after in ((raw.bids, frame.bids), (raw.asks, frame.asks)):
            sizes = {level.px_ticks: level.sz_lots for level in before}
            kept = {level.px_ticks: level.sz_lots for level in after}
            assert kept.keys() <= sizes.keys()
            assert all(lots <= sizes[px] for px, lots in kept.items())
            smaller += sum(lots < sizes[px] for px, lots in kept.items())
            gone += len(sizes) - len(kept)
    assert len(left) > 600
    assert len(shown) - len(left) < 20  # those after the stop
    assert smaller + gone > 15


COIN = Instrument(coin="HYPE", asset_id=0, sz_decimals=2, max_leverage=10)
T0_MS = 1_700_000_000_000
PREFIX = 0x6D6D_0000_0000_0001


def desk_with(*orders: tuple[Side, int, int]) -> Desk:
    """A desk with orders resting: side, price in ticks, lots."""
    at_ns = T0_MS * NS_PER_MS
    desk = Desk(EngineParams(risk=load(CONFIG).risk), COIN, cloid_prefix=PREFIX, settle_ns=NS_PER_S)
    desk.apply(LinkUp(at_ns))
    desk.apply(
        Snapshot(at_ns, at_ns, T0_MS, 0, None, 1000.0, 25.0, Fees(1.5, 4.5), (), (), 0, 10_000)
    )
    cloids = [PREFIX << 64 | number for number in range(1, len(orders) + 1)]
    rows = tuple(
        (cloid.to_bytes(16, "big"), int(side), px, sz, False, "Alo")
        for cloid, (side, px, sz) in zip(cloids, orders, strict=True)
    )
    sent = Output("running", (), (), (), rows, (), (), None, None, None, None, 0, 0.0, None)
    desk.decided(sent, at_ns)
    for oid, cloid in enumerate(cloids, start=1):
        desk.apply(Acked(at_ns + NS_PER_MS, Request.PLACE, cloid, oid))
    return desk


def book(ms: int, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> Book:
    """A book some milliseconds after the beginning."""
    at = T0_MS + ms
    return Book(
        at * NS_PER_MS,
        at,
        tuple(Level(*level) for level in bids),
        tuple(Level(*level) for level in asks),
        is_fast=False,
    )


def test_a_level_that_was_only_ours_is_gone_and_a_shared_one_is_smaller() -> None:
    """What an order of the simulation queues behind is the size of others, and nothing of ours."""
    desk = desk_with((Side.BUY, 249_900, 50), (Side.BUY, 249_800, 30), (Side.SELL, 250_200, 40))
    shown = book(
        1000,
        [(249_900, 50), (249_800, 100), (249_700, 70)],
        [(250_100, 20), (250_200, 40), (250_300, 90)],
    )

    left = without_us(shown, desk)

    assert isinstance(left, Book)
    assert left.bids == (Level(249_800, 70), Level(249_700, 70))
    assert left.asks == (Level(250_100, 20), Level(250_300, 90))


def test_behind_a_touch_that_was_ours_alone_the_book_tells_what_stood_there() -> None:
    """Else an engine would price from the quotes of another one of itself."""
    desk = desk_with((Side.BUY, 249_900, 50))
    without_us(book(1000, [(249_800, 100)], [(250_100, 20)]), desk)
    at = T0_MS + 1100
    shown = Bbo(at * NS_PER_MS, at, Level(249_900, 50), Level(250_100, 25))

    left = without_us(shown, desk)

    assert isinstance(left, Bbo)
    assert left.bid == Level(249_800, 100)
    assert left.ask == Level(250_100, 25)


def test_a_touch_behind_which_nobody_is_known_is_left_empty() -> None:
    """It prices nothing, as it priced nothing then."""
    desk = desk_with((Side.BUY, 249_900, 50))
    at = T0_MS + 1000
    left = without_us(Bbo(at * NS_PER_MS, at, Level(249_900, 50), Level(250_100, 25)), desk)
    assert isinstance(left, Bbo)
    assert left.bid is None
    assert left.ask == Level(250_100, 25)


@pytest.mark.parametrize(
    ("side", "px", "becomes"),
    [
        # We were the best: without us the seller gets the best bid of others, the buyer their ask.
        (Side.SELL, 249_950, 249_900),
        (Side.BUY, 250_050, 250_100),
        # He came through the others to us: the price stays.
        (Side.SELL, 249_700, 249_700),
        (Side.BUY, 250_400, 250_400),
    ],
)
def test_who_traded_with_us_trades_with_the_next_in_line(side: Side, px: int, becomes: int) -> None:
    """He came for whoever was there, never for a better price than he got from us."""
    at = T0_MS * NS_PER_MS
    touch = Bbo(at, T0_MS, Level(249_900, 10), Level(250_100, 10))
    ours = Trade(at, T0_MS + 5, side, px, 7, 1)
    another = Trade(at, T0_MS + 5, side, px, 7, 2)

    found = at_next_price((touch, ours, another), {1})

    assert found == (touch, msgspec.structs.replace(ours, px_ticks=becomes), another)


def test_what_we_took_ourselves_was_no_market() -> None:
    """A position closed as a taker would fill the orders of the simulation."""
    at = T0_MS * NS_PER_MS
    both = Trades(
        at,
        T0_MS + 9,
        (T0_MS + 9, T0_MS + 3),
        (Side.BUY, Side.SELL),
        (250_100, 249_900),
        (5, 6),
        (1, 2),
    )
    left = without_taken(both, {1})
    assert left == Trades(at, T0_MS + 3, (T0_MS + 3,), (Side.SELL,), (249_900,), (6,), (2,))
    assert without_taken(both, {1, 2}) is None
    assert without_taken(both, {3}) is both


def test_a_trade_that_is_told_again_fills_nobody_twice() -> None:
    """The venue replays recent trades to whoever subscribes, after every lost connection."""
    at = T0_MS * NS_PER_MS
    first = book(0, [(249_900, 5)], [(250_100, 5)])
    row = ((Side.SELL,), (249_900,), (6,))
    early = Trades(at, T0_MS - 50, (T0_MS - 50,), *row, (7,))
    once = Trades(at + 5, T0_MS + 3, (T0_MS + 3,), *row, (8,))
    again = Trades(at + 9, T0_MS + 3, (T0_MS + 3,), *row, (8,))

    found = recording_of("HYPE", (early, first, once, again), set())

    assert [trade.tid for trade in found.happened if isinstance(trade, Trade)] == [8]
    assert (found.replayed_trades, found.duplicate_trades) == (1, 1)
    assert found.frames == (early, first, once, again)


# -- what the simulation is worth ---------------------------------------------------------------


def test_the_real_column_is_what_the_run_did(busy: Path, asked: Counterfactual) -> None:
    """Held against the run's own summary and the venue's equity."""
    summary = json.loads((busy / "summary.json").read_text("utf-8"))

    real = asked.real
    assert real.fills == summary["fills"]
    assert real.fees_usd == pytest.approx(summary["fees_usd"], abs=1e-9)
    assert real.funding_usd == pytest.approx(summary["funding_usd"], abs=1e-9)
    assert real.position_max_sz == summary["max_inventory_sz"]
    assert real.position_end_sz == summary["position_sz"]
    assert real.pnl_usd == pytest.approx(summary["equity_usd"] - 1000.0, abs=1e-6)


def test_the_baseline_is_near_the_run(asked: Counterfactual) -> None:
    """The whole machinery is worth no more than the run it repeats when nothing is changed."""
    real, baseline = asked.real, asked.baseline
    assert real.fills > 40
    assert real.fills / WITHIN <= baseline.fills <= real.fills * WITHIN
    assert baseline.volume_usd == pytest.approx(real.volume_usd, rel=WITHIN - 1)
    assert baseline.position_mean_sz == pytest.approx(real.position_mean_sz, rel=0.25)
    assert baseline.two_sided_frac == pytest.approx(real.two_sided_frac, abs=0.05)
    assert baseline.requests == pytest.approx(real.requests, rel=0.2)


def test_the_error_of_the_simulation_stands_beside_the_effect(asked: Counterfactual) -> None:
    """In the numbers and in the table; an effect below it is called nothing."""
    assert asked.error == figures.difference(asked.baseline, asked.real)
    assert asked.effect == figures.difference(asked.changed, asked.baseline)
    table = lines(asked)
    head = next(line for line in table if "sim. error" in line)
    assert head.split() == ["real", "baseline", "changed", "effect", "sim.", "error"]
    row = next(line for line in table if line.startswith("fills")).split()
    fills = (asked.real.fills, asked.baseline.fills, asked.changed.fills)
    assert [int(cell) for cell in row[1:4]] == list(fills)
    assert [int(cell) for cell in row[4:]] == [fills[2] - fills[1], fills[1] - fills[0]]
    parts = ("pnl_usd", "capture_usd", "adverse_usd", "inventory_usd", "fees_usd", "funding_usd")
    nothing = abs(asked.effect["pnl_usd"]) <= max(abs(asked.error[name]) for name in parts)
    assert ("says nothing" in table[-1]) is nothing
    assert ("which may be luck" in table[-1]) is not nothing


def test_profit_is_split_so_that_it_adds_up(asked: Counterfactual) -> None:
    """In every column."""
    for each in (asked.real, asked.baseline, asked.changed):
        total = each.capture_usd - each.adverse_usd + each.inventory_usd
        assert each.pnl_usd == pytest.approx(total - each.fees_usd + each.funding_usd, abs=1e-9)


def test_more_risk_aversion_holds_less(asked: Counterfactual) -> None:
    """A wider quote and a steeper skew: a smaller position over time, by more than the error."""
    assert asked.change[0].key == "quoter.gamma_per_bp"
    assert asked.change[0].new == 250 * asked.change[0].old
    assert asked.effect["position_mean_sz"] < -0.1 * asked.baseline.position_mean_sz
    assert abs(asked.effect["position_mean_sz"]) > abs(asked.error["position_mean_sz"])
    assert asked.changed.fills < asked.baseline.fills


def test_a_steeper_skew_holds_less(busy_questions: Questions) -> None:
    """The skew by itself, without the width."""
    found = busy_questions.change(["quoter.skew_bps_min=6x"])
    assert found.effect["position_mean_sz"] < -0.2 * found.baseline.position_mean_sz


def test_latency_and_queue_are_said_and_a_longer_queue_fills_less(
    eventful: Path, eventful_questions: Questions
) -> None:
    """The latency is the run's own unless another one is asked for."""
    usual, questions = eventful_questions, Questions(eventful, queue_factor=100)
    answers = sorted(questions.market.real.answers_ms)
    assert answers[len(answers) // 2] == pytest.approx(usual.model.order_latency_ms, abs=1)
    assert usual.model.latency_from == f"median of {len(answers)} verdicts of the run"
    assert usual.model.queue_factor == 1
    assert questions.baseline.fills < usual.baseline.fills
    assert figures.real(questions.market) == figures.real(usual.market)


def test_the_output_says_latency_and_queue_and_where_they_came_from(brief: Path) -> None:
    """Of the run, or as they were given."""
    given = Questions(brief, order_latency_ms=400, queue_factor=100)
    told = "\n".join(lines(given.change(["quoter.gamma_per_bp=2x"])))
    assert "takes 400 ms (--order-latency-ms), queue x100 (--queue-factor)" in told
    model = Questions(brief).model
    done = typed(str(brief), "--set=quoter.gamma_per_bp=2x")
    assert f"takes {model.order_latency_ms:g} ms ({model.latency_from})" in done.output
    assert "queue x1 (backtest.queue_factor)" in done.output


# -- what else came in --------------------------------------------------------------------------


def unchanged(folder: Path) -> tuple[Asked, Questions]:
    """What every answer says of a run, whatever was asked."""
    questions = Questions(folder)
    return Asked(**questions._asked()), questions


def test_lost_connections_are_lost_again(eventful_questions: Questions) -> None:
    """Nothing is quoted without a link; the account is read again and quoting goes on."""
    questions = eventful_questions
    found = Asked(**questions._asked())
    assert found.real.fills / 1.5 <= found.baseline.fills <= found.real.fills * 1.5
    assert found.real.two_sided_frac < 0.95
    assert found.baseline.two_sided_frac == pytest.approx(found.real.two_sided_frac, abs=0.1)
    assert any("lost connections" in text for text in found.warnings)
    run = Simulation(questions.market, params=RecordedVenueParams())
    notes: list[str] = []
    decide = run.engine.decide
    run.engine.decide = lambda now_ns: _noted(decide(now_ns), notes)  # type: ignore[method-assign]
    run.play()
    assert notes.count("link.lost") >= 2
    assert "position.mismatched" not in notes
    assert "position.differs" not in notes
    assert "vitals.violated" not in notes


def _noted(decision: Any, notes: list[str]) -> Any:
    notes.extend(note.event for note in decision.notes)
    return decision


def test_an_inherited_position_and_its_funding_are_inherited(tmp_path: Path) -> None:
    """The run lies across a full hour, and begins with a position that pays."""
    play(tmp_path, seed=8, span_s=165, prepare=inherit(Side.BUY, 250.0))
    found, questions = unchanged(tmp_path)
    held = questions.market.started.instrument.sz(questions.market.first.position_lots)
    assert held > 5
    assert found.baseline.position_max_sz >= held
    assert found.real.funding_usd != 0
    assert found.baseline.funding_usd == pytest.approx(found.real.funding_usd, rel=0.5)


def test_a_trade_by_hand_is_in_every_column(tmp_path: Path) -> None:
    """It is no order of ours: whatever we had quoted, somebody would have sold."""
    sets = (*WIDE, "kill.flatten=false")
    play(tmp_path, seed=9, span_s=90, sets=sets, acts=((0.9, take(Side.SELL, 60.0)),))
    found, _ = unchanged(tmp_path)
    assert any("not the run's: every column has them" in text for text in found.warnings)
    assert found.baseline.position_end_sz == pytest.approx(found.real.position_end_sz, abs=1.0)


def test_a_run_that_was_killed_is_compared_up_to_there(tmp_path: Path) -> None:
    """Columns of different lengths could not be subtracted."""
    play(tmp_path, seed=7, span_s=120, acts=((0.6, kill),))
    questions = Questions(tmp_path)
    found = questions.change(["quoter.gamma_per_bp=2x"])
    market = questions.market
    assert found.span_s == pytest.approx(72, abs=3)
    assert max(item.recv_ns for item in market.inputs) == market.end_ns
    assert found.real.kill == "operator: mmbot kill"
    assert found.baseline.fills == pytest.approx(found.real.fills, abs=3)
    assert "every column ends where the run was killed: operator" in "\n".join(lines(found))


def test_a_position_closed_at_the_end_is_in_no_column(tmp_path: Path) -> None:
    """Nobody can be asked what a taker would have got in a market that is played back."""
    play(tmp_path, seed=10, span_s=80, sets=(*WIDE, "on_exit=flatten"))
    summary = json.loads((tmp_path / "summary.json").read_text("utf-8"))
    found, _ = unchanged(tmp_path)
    assert summary["position_sz"] == 0
    assert abs(found.real.position_end_sz) > 0
    assert found.real.fills < summary["fills"]
    assert any("closed its position in" in text for text in found.warnings)


def test_a_clock_that_was_set_stretches_no_column(tmp_path: Path) -> None:
    """Times are taken to a steady clock; the answer says so."""
    play(tmp_path, seed=6, span_s=80, sets=WIDE, acts=((0.3, step_clock(1.8)),))
    found, questions = unchanged(tmp_path)
    times = [item.recv_ns for item in questions.market.inputs]
    assert times == sorted(times)
    assert found.span_s == pytest.approx(80, abs=0.9)
    assert any("the clock was set 1 times, by +1.8 s" in text for text in found.warnings)


def test_a_reload_is_reloaded_and_the_change_is_made_to_it(tmp_path: Path) -> None:
    """What was in force then is what is doubled."""

    def reload(run: PipeRun) -> None:
        quoter = run.config.quoter.model_copy(update={"gamma_per_bp": 0.01})
        run.trader.reconfigure(run.config.model_copy(update={"quoter": quoter}))

    play(tmp_path, seed=3, span_s=30, acts=((0.5, reload),))
    questions = Questions(tmp_path)
    given: list[float] = []

    def retune(params: EngineParams) -> EngineParams:
        given.append(params.quoter.gamma_per_bp)
        return params

    Simulation(questions.market, retune=retune, params=RecordedVenueParams()).play()
    assert given == [0.004, 0.01]
    start, later = questions._periods
    for period, twice in ((start, 0.008), (later, 0.02)):
        assert questions._with(("quoter.gamma_per_bp=2x",), period).quoter.gamma_per_bp == twice


# -- mechanisms ---------------------------------------------------------------------------------


def test_every_mechanism_is_left_out_and_each_that_was_active_matters(
    eventful_questions: Questions,
) -> None:
    """Of minutes of sweeps; no reference is configured, so leaving it out changes nothing."""
    found = eventful_questions.ablate()
    left_out = frozenset[str]().union(*(each.terms for each in found.mechanisms.values()))
    assert left_out == TERMS
    assert list(found.mechanisms) == list(MECHANISMS)
    assert list(MECHANISMS)[:4] == ["skew", "widening", "cascade", "opposed"]
    for name, each in found.mechanisms.items():
        assert (each.figures != found.baseline) is (name != "reference"), name
        assert each.effect == figures.difference(each.figures, found.baseline)
    table = "\n".join(lines(found))
    for name in MECHANISMS:
        assert f"without {name}" in table
    assert found.mechanisms["cascade"].effect["fills"] > 0
    told = lines(found)[-1]
    assert "one run, which may be luck" in told
    assert "mmbot lab" in told, "where many seeds are"
    money = ("pnl_usd", "capture_usd", "adverse_usd", "inventory_usd", "fees_usd", "funding_usd")
    error = max(abs(found.error[name]) for name in money)
    assert error > abs(found.error["pnl_usd"]), "errors of parts cancel in their sum by luck alone"
    assert f"error of the simulation, {error:.4f} USD" in told
    for name, each in found.mechanisms.items():
        is_beyond = abs(each.effect["pnl_usd"]) > error
        assert (f" {name}" in told.partition(":")[2].partition(".")[0]) is is_beyond, name
    exact = msgspec.structs.replace(found, error=dict.fromkeys(found.error, 0.0))
    told = lines(exact)[-1]
    assert "0.0000" not in told, "an error of nothing would call every effect a finding"
    assert "nothing can be said of the error" in told


# -- as it is typed -----------------------------------------------------------------------------


def test_the_same_command_prints_the_same_bytes(brief: Path) -> None:
    """A figure that cannot be had again is none."""
    arguments = (str(brief), "--set", "quoter.gamma_per_bp=2x", "--json")
    one, other = typed(*arguments), typed(*arguments)
    assert one.exit_code == 0, one.output
    assert one.output == other.output
    told = json.loads(one.output)
    assert told["change"][0]["key"] == "quoter.gamma_per_bp"
    assert set(told) >= {"real", "baseline", "changed", "effect", "error", "model", "warnings"}


def test_a_factor_is_the_number_it_stands_for(brief: Path) -> None:
    """And several keys may be changed at once."""
    half = "quoter.half_spread_bps_min"
    told = [
        json.loads(typed(str(brief), *(f"--set={item}" for item in items), "--json").output)
        for items in (
            ("quoter.gamma_per_bp=0.5x", f"{half}=1.5x"),
            (
                "quoter.gamma_per_bp=0.002",
                f"{half}={1.5 * load(CONFIG).quoter.half_spread_bps_min}",
            ),
        )
    ]
    assert told[0] == told[1]
    assert len(told[0]["change"]) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set=log.level=2x",), ("log.level = 'info' is not a number",)),
        (("--set=guards.taker_exit=2x",), ("guards.taker_exit = False is not a number",)),
        (("--set=risk.loss_limit_usd=2x",), ("risk.loss_limit_usd is not set",)),
        (("--set=quoter.gama_per_bp=2x",), ("unknown key", "did you mean gamma_per_bp?")),
        (("--set=quoter.gamma_per_bp=900x",), ("quoter.gamma_per_bp = 3.6", "less than or equal")),
        (("--set=quoter.gamma_per_bp=0.004",), ("is what the run had",)),
        (("--set=link.ping_every_s=2x",), ("no decision depends on it",)),
        (("--set=backtest.queue_factor=2",), ("no decision depends on it", "--queue-factor")),
        (("--set=quoter.gamma_per_bp",), ("write it as section.key=value",)),
        (("--set=quoter.gamma_per_bp=2x", "--ablate"), ("two questions",)),
        (("--order-latency-ms=5",), ("--order-latency-ms 5", "use it with --set or --ablate")),
        (("--queue-factor=2",), ("--queue-factor 2", "use it with --set or --ablate")),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(
    brief: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """Key, value and remedy."""
    told = refused(str(brief), *arguments)
    for each in words:
        assert each in told


def test_a_run_without_a_journal_or_a_market_cannot_be_asked(brief: Path, tmp_path: Path) -> None:
    """Each says what is missing."""
    ask = "--set=quoter.gamma_per_bp=2x"
    assert "no journal" in refused(str(tmp_path), ask)
    (tmp_path / "journal-0001.mmj").touch()
    assert "journal-0001.mmj" in refused(str(tmp_path), ask)
    damaged = bytearray((brief / "journal-0001.mmj").read_bytes())
    damaged[len(file_head(0, bytes(8), 0)) + 3] ^= 0xFF
    (tmp_path / "journal-0001.mmj").write_bytes(damaged)
    told = refused(str(tmp_path), ask)
    assert "journal-0001.mmj is damaged in the block at byte" in told, "as plain replay says"
    assert "record of a start" not in told
    rows = [(each.kind, each.payload) for each in Journal.of(brief).entries()]
    until = [kind for kind, _ in rows].index(Kind.SNAPSHOT)
    raw = b"".join(row_bytes(kind, payload) for kind, payload in rows[:until])
    head = file_head(0, bytes(8), 0)
    (tmp_path / "journal-0001.mmj").write_bytes(head + Packer().block(raw, 0, until))
    assert "no market" in refused(str(tmp_path), ask)


@pytest.mark.parametrize("is_cut", [True, False], ids=["cut", "damaged"])
def test_a_journal_that_is_not_whole_is_played_as_far_as_it_goes(
    eventful: Path, tmp_path: Path, *, is_cut: bool
) -> None:
    """With a warning, and every column as long as the others."""
    folder = tmp_path / "run"
    shutil.copytree(eventful, folder)
    path = folder / "journal-0001.mmj"
    data = bytearray(path.read_bytes())
    half = len(data) // 2
    if is_cut:
        del data[half:]
    else:
        data[half] ^= 1
    path.write_bytes(data)

    found = Questions(folder).change(["quoter.gamma_per_bp=2x"])
    warning = f"warning    journal {'cut' if is_cut else 'damaged'}: journal-0001.mmj"
    assert any(line.startswith(warning) for line in lines(found))
    assert 40 < found.span_s < 160
    assert found.real.fills / 2 <= found.baseline.fills <= found.real.fills * 2


def test_plain_replay_is_what_it_was(brief: Path) -> None:
    """Nothing is simulated unless it is asked for."""
    done = typed(str(brief))
    assert done.exit_code == 0
    assert "IDENTICAL" in done.output


def test_a_configuration_that_this_version_does_not_know_is_named(
    brief: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal of another version: the key it has and this one has not."""
    market = read_market(Journal.of(brief))
    config = {**market.started.config, "quoter": {**market.started.config["quoter"], "old_bps": 1}}
    strange = msgspec.structs.replace(
        market, started=msgspec.structs.replace(market.started, config=config)
    )
    monkeypatch.setattr("mmbot.runtime.whatif.compare.read_market", lambda _: strange)
    with pytest.raises(ConfigError, match=r"the configuration of the run: quoter\.old_bps"):
        Questions(brief)
