"""
A configuration that is loaded again while the daemon trades.

Three promises: a reloaded engine is the engine that a start with the new file would have made, as
far as the reloadable keys go; what the switch is held against and whose money it is never change in
a running daemon; and a replay reproduces a run with reloads to the last bit.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from knobs.liveness import configure
from knobs.table import TABLE
from mmbot.config import Config, load
from mmbot.core.engine import Engine, EngineParams
from mmbot.errors import ConfigError, MmbotError
from mmbot.journal.reader import Journal
from mmbot.journal.records import Ended, Judged, Kind, Reconfigured, Started, decode, is_event
from mmbot.journal.records import encode_output as encoded
from mmbot.journal.writer import JournalParams, Writer
from mmbot.logs import Threshold
from mmbot.runtime.desk import Desk
from mmbot.runtime.recording import outcome
from mmbot.runtime.reload import changes, reloadable_keys
from mmbot.runtime.replay import replay
from runtime.pipe_rig import CONFIG, PipeRun

CALM = ("risk.loss_limit_frac=0.5", "risk.drawdown_limit_frac=0.5", "risk.warm_s=0")
OF_THE_SHELL = ("log.level", "on_exit")
ENGINE_KEYS = [key for key in reloadable_keys() if key not in OF_THE_SHELL]


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, Any]]:
    """Every input of an engine in 40 s of a lively market: (kind, record)."""
    folder = tmp_path_factory.mktemp("eventful")
    writer = Writer(folder, JournalParams(), steady=lambda: 0, has_thread=False)
    run = PipeRun("demo", seed=4, sets=CALM, journal=writer)
    run.start()
    run.run(40)
    run.stop()
    writer.close(Ended(at_ns=run.sim.clock(), reason="test", exit_code=0))
    return [(e.kind, decode(e.kind, e.payload)) for e in Journal.of(folder).entries()]


def decided(
    records: list[tuple[int, Any]],
    params: EngineParams,
    then: EngineParams | None = None,
    *,
    at: int = 0,
) -> list[bytes]:
    """What an engine with `params` decides on these inputs, reconfigured to `then` at a record."""
    engine: Engine | None = None
    said: list[bytes] = []
    waiting: dict[int, Any] = {}
    for number, (kind, record) in enumerate(records):
        if isinstance(record, Started):
            engine = Engine(params, record.instrument, cloid_prefix=record.cloid_prefix)
            engine.orders.settle_ns = record.settle_ns
        if engine is None:
            continue
        if then is not None and number == max(at, 3):
            engine.reconfigure(then, 0)
        try:
            if is_event(kind):
                engine.apply(record)
            elif kind == Kind.DECIDE:
                decision = engine.decide(record)
                said.append(encoded(outcome(engine, decision)))
                waiting[len(said) - 1] = decision
            elif isinstance(record, Judged) and record.decision in waiting:
                engine.judge(waiting.pop(record.decision))
        except MmbotError as error:
            said.append(str(error).encode())
            break
    return said


def _params(*values: tuple[str, Any]) -> EngineParams:
    patient = (("risk.loss_limit_frac", 0.5), ("risk.drawdown_limit_frac", 0.5), ("risk.warm_s", 0))
    return configure((*patient, *values), Path()).engine


@pytest.mark.parametrize("key", ENGINE_KEYS)
def test_a_reloaded_key_acts_as_if_the_run_had_begun_with_it(
    key: str, eventful: list[tuple[int, Any]]
) -> None:
    """A part that keeps a copy of the old value would quote half of each configuration."""
    knob = TABLE[key]
    base = tuple((k, v) for k, v in knob.base if k.split(".")[0] not in ("market", "emulator"))
    old, new = _params(*base), _params(*base, (key, knob.value))
    assert old != new

    begun = decided(eventful, new)
    reloaded = decided(eventful, old, new)

    assert len(begun) > 100
    assert reloaded == begun


def test_the_comparison_would_see_a_key_that_did_not_arrive(
    eventful: list[tuple[int, Any]],
) -> None:
    """Otherwise every test above would pass with an engine that ignores its reload."""
    seen = []
    plain: dict[Any, list[bytes]] = {}
    for key in ENGINE_KEYS:
        knob = TABLE[key]
        base = tuple((k, v) for k, v in knob.base if k.split(".")[0] not in ("market", "emulator"))
        if base not in plain:
            plain[base] = decided(eventful, _params(*base))
        if plain[base] != decided(eventful, _params(*base, (key, knob.value))):
            seen.append(key)

    assert len(seen) >= 15, seen
    for section in ("quoter.", "ladder.", "reconcile.", "guards."):
        assert sum(key.startswith(section) for key in seen) >= 2, seen


def test_what_the_kill_switch_is_held_against_is_not_reloadable() -> None:
    """A limit that can be moved away while it is being approached is none."""
    marked = set(reloadable_keys())
    forbidden = ("risk.", "kill.", "account.", "instrument.", "emulator.", "book.", "premises.")

    assert len(marked) > 50
    assert not [key for key in marked if key.startswith(forbidden)]
    # They decide since when a position is stuck against a trend: a trigger of the switch.
    feeds = {"guards.stuck_x", "stance.opposed_x_min", "stance.opposed_z", "stance.hold_s_max"}
    assert not marked & {*feeds, "stance.opposed_z_leave", "stance.hold_s_min"}
    assert not marked & {"mode", "state_dir", "reconcile.requests_reserve", "log.dir"}
    estimators = ("volatility.", "drift.", "trend.", "intensity.", "adverse.", "flow.")
    assert not [key for key in marked if key.startswith(estimators)]


def test_every_key_marked_reloadable_is_one() -> None:
    """A name that was mistyped in a model's list would mark nothing, and nobody would be told."""
    config = load(CONFIG)
    for key in reloadable_keys():
        node: Any = config
        for part in key.split("."):
            assert part in type(node).model_fields, key
            node = getattr(node, part)


def test_the_very_next_decision_has_nothing_of_the_old_parameters() -> None:
    """Width, order size and rungs are kept between decisions while their inputs stand still."""
    run = PipeRun("demo", seed=2, sets=CALM)
    run.start()
    run.run(20)
    fresh = load(
        CONFIG,
        (*CALM, "quoter.half_spread_bps_min=15", "ladder.rungs=2", "ladder.order_usd_min=25"),
    )
    before = run.trader.engine._delta

    # Twice at one moment: between the two not one input of the quote has moved.
    run.trader.reconfigure(run.config)
    run.trader.reconfigure(fresh)

    engine = run.trader.engine
    assert run.trader.decided_ns == run.clock()
    assert engine._tally._last is not None
    quote, bid, ask = engine._tally._last
    assert quote.half_bps >= 15
    assert len(bid.rungs) <= 2
    assert len(ask.rungs) <= 2
    assert bid.rungs or ask.rungs
    for rung in (*bid.rungs, *ask.rungs):
        assert rung.px_ticks * rung.sz_lots * 1e-6 >= 25
    assert engine._delta != before


def test_what_is_kept_between_decisions_is_made_anew() -> None:
    """One key at a time: another one that changes with it would hide what was kept."""
    run = PipeRun("demo", seed=2, sets=CALM)
    run.start()
    run.run(20)
    last = run.trader.engine._tally

    def reload(text: str) -> tuple[Any, Any, Any]:
        run.trader.reconfigure(load(CONFIG, (*CALM, text)))
        assert last._last is not None
        return last._last

    narrow, *_ = reload("quoter.half_spread_bps_min=9")
    wide, *_ = reload("quoter.half_spread_bps_min=15")
    assert (narrow.half_bps < 15, wide.half_bps >= 15) == (True, True)

    def gaps(sides: tuple[Any, Any]) -> list[int]:
        pairs = [pair for side in sides for pair in pairwise(side.rungs)]
        return [abs(one.px_ticks - other.px_ticks) for one, other in pairs]

    _, *even = reload("ladder.gap_growth=1.0")
    _, *thinned = reload("ladder.gap_growth=2.0")
    assert len(set(gaps((even[0], even[1])))) == 1
    assert max(gaps((thinned[0], thinned[1]))) > max(gaps((even[0], even[1])))


# -- in a run that keeps a journal ---------------------------------------------------------------


def _recorded(folder: Path, play: Callable[[PipeRun], None]) -> PipeRun:
    writer = Writer(folder, JournalParams(), steady=lambda: 0, has_thread=False)
    run = PipeRun("demo", seed=7, sets=CALM, journal=writer)
    run.start()
    play(run)
    run.stop()
    writer.close(Ended(at_ns=run.sim.clock(), reason="test", exit_code=0))
    return run


def _widen(run: PipeRun) -> None:
    run.run(12)
    run.trader.reconfigure(load(CONFIG, (*CALM, "quoter.half_spread_bps_min=20", "ladder.rungs=2")))
    run.run(10)
    run.dialer.cut()
    run.run(10)
    run.trader.reconfigure(load(CONFIG, (*CALM, "quoter.gamma_per_bp=0.02", "cascade.gain=0")))
    run.run(10)


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PipeRun]:
    """A run of 40 s with a reconnect and two reloads."""
    folder = tmp_path_factory.mktemp("reloaded")
    return folder, _recorded(folder, _widen)


def test_a_replay_of_a_run_with_reloads_is_identical(reloaded: tuple[Path, PipeRun]) -> None:
    """A reload is an input of the engine: a journal without it would explain another run."""
    result = replay(reloaded[0])

    assert result.difference is None
    assert result.is_good
    assert result.reloads == 2
    assert result.decisions > 200


def test_a_replay_without_its_reload_is_found_out(reloaded: tuple[Path, PipeRun]) -> None:
    """If leaving it out changed nothing, the test before would prove nothing."""
    kept: dict[str, Any] = {}

    def without(kind: Kind, record: Any) -> Any:
        if kind is Kind.STARTED:
            kept["params"] = record.params
        if isinstance(record, Reconfigured):
            return msgspec.structs.replace(record, params=kept["params"])
        return record

    assert replay(reloaded[0], change=without).difference is not None


def test_orders_follow_a_wider_spread_and_fewer_rungs_at_once(
    reloaded: tuple[Path, PipeRun],
) -> None:
    """Claimed of what went to the exchange: the quote of the record is not yet an order."""
    folder, _ = reloaded
    depth: list[tuple[str, int]] = []
    phase = "before"
    for entry in Journal.of(folder).entries():
        record = decode(entry.kind, entry.payload)
        if isinstance(record, Reconfigured):
            phase = "after" if phase == "before" else "again"
        elif entry.kind == Kind.OUTPUT and record.places:  # type: ignore[union-attr]
            for side in (1, -1):
                rows = [it for it in record.places if it[1] == side]  # type: ignore[union-attr]
                depth.append((phase, len(rows)))
    assert max(count for where, count in depth if where == "before") >= 3
    assert max(count for where, count in depth if where == "after") <= 2
    assert max(count for where, count in depth if where == "again") >= 3


# -- the desk: what is taken and what is refused --------------------------------------------------


class Rig:
    """A desk over a run on the pipe; its file is whatever a test says it is."""

    def __init__(self, run: PipeRun, folder: Path) -> None:
        self.run = run
        self.text: Callable[[], Config] = lambda: run.config
        self.threshold = Threshold("info")
        self.taken: list[Config] = []
        self.desk = Desk(
            folder,
            run.config,
            load=self._load,
            on_stop=lambda _: None,
            on_config=self.taken.append,
            log=run.trader.log,
            threshold=self.threshold,
            clock=run.clock,
        )
        self.desk.begin(run.trader, run.user, None)

    def _load(self) -> Config:
        return self.text()

    def reload(self) -> tuple[str | None, list[str]]:
        """Error, and the keys that differ."""

        async def ask() -> tuple[str | None, list[str]]:
            error, found = await self.desk.reload("test")
            return error, [change.key for change in found]

        return asyncio.get_event_loop().run_until_complete(ask())

    def events(self) -> list[str]:
        """Of the log, those about the configuration."""
        return [r["event"] for r in self.run.log.all if str(r["event"]).startswith("config.")]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A desk on a trading run."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)

    async def make() -> Rig:
        run = PipeRun("demo", seed=2, sets=CALM)
        run.start()
        run.run(5)
        return Rig(run, tmp_path)

    yield loop.run_until_complete(make())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    asyncio.set_event_loop(None)


def test_a_reload_names_old_and_new_of_every_key_in_the_log(rig: Rig, tmp_path: Path) -> None:
    """Whoever reads the log a month later must see from when on another width was quoted."""
    rig.text = lambda: load(CONFIG, (*CALM, "quoter.half_spread_bps_min=13", "log.level=warning"))

    error, keys = rig.reload()

    assert (error, keys) == (None, ["log.level", "quoter.half_spread_bps_min"])
    (record,) = [r for r in rig.run.log.all if r["event"] == "config.reloaded"]
    assert record["changes"]["quoter.half_spread_bps_min"] == "8.0 -> 13.0"
    assert rig.threshold.number == 30
    assert rig.taken[-1].quoter.half_spread_bps_min == 13
    facts = rig.run.trader.facts
    assert facts is not None
    rig.run.run(2)
    facts = rig.run.trader.facts
    assert facts is not None
    assert facts.half_bps >= 13
    assert "half_spread_bps_min = 13.0" in (tmp_path / "config.toml").read_text("utf-8")


@pytest.mark.parametrize(
    "text",
    ["risk.loss_limit_frac=0.4", "instrument.coin=BTC", "guards.stuck_x=0.9", "kill.stuck_s=950"],
)
def test_a_file_that_also_changes_what_may_not_change_is_refused_whole(rig: Rig, text: str) -> None:
    """Half a file in force is a configuration that nobody wrote."""
    rig.text = lambda: load(CONFIG, (*CALM, "quoter.half_spread_bps_min=13", text))

    error, _ = rig.reload()

    assert error is not None
    assert text.partition("=")[0] in error
    assert "restart" in error
    assert "half_spread" not in error
    assert rig.desk.config is rig.run.config
    assert rig.desk.reloads == 0
    assert rig.events()[-1] == "config.refused"
    rig.run.run(2)
    assert rig.run.trader.facts is not None
    assert rig.run.trader.facts.half_bps < 13


def test_a_file_that_cannot_be_read_changes_nothing(rig: Rig) -> None:
    """A slip of the pen while the daemon trades must cost nothing but a line in the log."""

    def broken() -> Config:
        raise ConfigError("mmbot.toml: quoter.gamma_per_bp = -1: must be at least 0")

    rig.text = broken
    error, _ = rig.reload()

    assert error is not None
    assert "gamma_per_bp" in error
    assert rig.desk.reloads == 0
    assert rig.events() == ["config.refused"]


def test_a_file_that_never_comes_holds_up_neither_the_next_nor_the_end(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe, a disk that is away: the threads of the loop are waited for by the whole process."""
    monkeypatch.setattr("mmbot.runtime.desk._LOAD_S", 0.05)
    is_there = threading.Event()

    def away() -> Config:
        is_there.wait(10)
        return rig.run.config

    rig.text = away
    error, _ = rig.reload()
    asyncio.get_event_loop().run_until_complete(
        asyncio.get_event_loop().shutdown_default_executor()
    )
    is_held = not is_there.is_set()
    is_there.set()

    assert is_held
    assert error is not None
    assert "not read within 0.05 s" in error
    assert rig.events() == ["config.refused"]
    rig.text = lambda: rig.run.config
    monkeypatch.undo()
    assert rig.reload() == (None, [])


def test_a_reload_of_the_same_file_is_no_reload(rig: Rig) -> None:
    """Nor is one that changes only what other commands read."""
    error, keys = rig.reload()
    assert (error, keys, rig.events()) == (None, [], ["config.unchanged"])

    rig.text = lambda: load(CONFIG, (*CALM, "backtest.queue_factor=0.5"))
    assert rig.reload() == (None, [])


def test_a_run_that_ends_takes_no_configuration(rig: Rig) -> None:
    """Its orders are being cancelled; nothing is quoted any more."""
    rig.run.trader.stop("test")
    rig.text = lambda: load(CONFIG, (*CALM, "quoter.half_spread_bps_min=13"))

    error, _ = rig.reload()

    assert error is not None
    assert "nothing was changed" in error


def test_the_end_of_the_run_follows_a_reloaded_on_exit(rig: Rig) -> None:
    """Asked of the venue's books: the position is gone although the run began with `hold`."""
    rig.text = lambda: load(CONFIG, (*CALM, "on_exit=flatten"))
    assert rig.reload() == (None, ["on_exit"])
    rig.run.run(30)
    assert rig.run.trader.flattens_on_exit

    ending = rig.run.stop()

    assert ending.final is not None
    assert ending.final.position_lots == 0


def test_differences_are_those_of_the_daemon_alone() -> None:
    """A key of another command in the same file is no reason to refuse a reload."""
    one = load(CONFIG)
    assert changes(one, load(CONFIG, ("watchdog.silent_s=3",))) == []
    (change,) = changes(one, load(CONFIG, ("emulator.seed=9",)))
    assert (change.key, change.is_reloadable) == ("emulator.seed", False)
