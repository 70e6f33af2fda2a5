"""Runs over the pipe that leave what `mmbot run` leaves: a journal, a log, a summary."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import msgspec

from core.driven import Driven
from core.mutants import Border, Change, Mutant, plant
from mmbot.core.types import NS_PER_MS, NS_PER_S, Side, Tif
from mmbot.emulator.makers import valid_near
from mmbot.emulator.specs import NewOrder
from mmbot.emulator.transfers import class_transfer
from mmbot.journal.records import Ended
from mmbot.journal.writer import JournalParams, Writer
from mmbot.logs import spread
from mmbot.runtime import killreport
from mmbot.runtime.pipe import SimLoop
from mmbot.runtime.piped import Records
from mmbot.runtime.rundir import describe_run, write_summary
from mmbot.runtime.summary import summarise
from runtime.pipe_rig import START_MS, PipeRun

WIDE = (
    "risk.loss_limit_frac=0.5",
    "risk.drawdown_limit_frac=0.5",
    "risk.soft_limit_frac=0.5",
    "risk.day_loss_limit_frac=0.5",
)
"""Money ends no run that is made to show something else."""
_DRAIN_S = 20.0
_encode = msgspec.json.Encoder(enc_hook=str).encode


class FileRecords(Records):
    """The log written as `LogWriter` writes it; nothing of it is kept in memory."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("wb")

    def put(self, record: Mapping[str, Any]) -> None:
        """Write one record."""
        self._file.write(_encode(spread(record)) + b"\n")

    def close(self) -> None:
        """Done."""
        self._file.close()


Act = Callable[[PipeRun], None]


class Fault(NamedTuple):
    """
    One thing that is wrong with a run.

    Attributes:
        causes: Names that the right first suspect may have.
        sets: Configuration.
        prepare: Does something to the exchange before the program begins.
        begun: Does something to the program before its first decision.
        acts: What happens at which part of the run.
        market: Figures of the synthetic market.
        needs_s: Least span in which it can show.
    """

    causes: tuple[str, ...]
    sets: tuple[str, ...] = ()
    prepare: Act | None = None
    begun: Act | None = None
    acts: tuple[tuple[float, Act], ...] = ()
    market: Mapping[str, object] = {}
    needs_s: float = 0.0
    scenarios: tuple[str, ...] = ()
    """Where it can show at all; any by default."""


def mutant(field: str, change: Change, border: Border = Border.QUOTE) -> Act:
    """A mutant of the core in the program of a run."""

    def begun(run: PipeRun) -> None:
        host = SimpleNamespace(engine=run.trader.engine, start_ns=run.trader.started_ns)
        plant(cast("Driven", host), Mutant(border, field, change))

    return begun


def faults(**changes: Any) -> Act:
    """Faults of the venue."""
    return lambda run: run.faults(**changes)


def cut(run: PipeRun) -> None:
    """Lose the connection, for a few seconds."""
    run.dialer.refuse = "down"
    run.dialer.cut()
    run.sim.call_at(run.sim.clock() + 4 * NS_PER_S, lambda: setattr(run.dialer, "refuse", None))


class Tamper:
    """Meets every text of the exchange; holds the prices back while a stall lasts."""

    def __init__(self) -> None:
        self.sim: SimLoop | None = None
        self.until_ns = 0

    def __call__(self, text: str) -> Sequence[tuple[int, str]]:
        is_price = '"channel":"bbo"' in text[:40] or '"channel":"l2Book"' in text[:40]
        left_ns = self.until_ns - self.sim.clock() if self.sim is not None else 0
        return [(left_ns if is_price and left_ns > 0 else 0, text)]


def stall(span_s: float) -> Act:
    """Hold every message of the prices back for a while."""

    def act(run: PipeRun) -> None:
        tamper = cast("Tamper", run.dialer.tamper)
        tamper.sim = run.sim
        tamper.until_ns = run.sim.clock() + round(span_s * NS_PER_S)

    return act


class Late:
    """Meets every text of the exchange; each price is as late as the other."""

    def __init__(self, late_ms: int) -> None:
        self._late_ns = late_ms * NS_PER_MS

    def __call__(self, text: str) -> Sequence[tuple[int, str]]:
        is_price = '"channel":"bbo"' in text[:40] or '"channel":"l2Book"' in text[:40]
        return [(self._late_ns if is_price else 0, text)]


def late(late_ms: int) -> Act:
    """Every price comes late, and everything else at once."""
    return lambda run: setattr(run.dialer, "tamper", Late(late_ms))


def spend(left: int) -> Act:
    """An address that has few requests left."""

    def act(run: PipeRun) -> None:
        account = run.venue.account(run.user)
        account.requests_used = 10_000 - left

    return act


def take(side: Side, usd: float) -> Act:
    """Trade the account by hand, beside the program."""

    def act(run: PipeRun) -> None:
        _take(run, side, usd)
        run.exchange.settle()
        run.driver.settle()

    return act


def _take(run: PipeRun, side: Side, usd: float) -> None:
    asset_id = run.venue.asset_id(run.coin)
    assert asset_id is not None
    asset = run.venue.asset(asset_id)
    bid, ask = run.touch()
    mid = (bid + ask) / 2
    ticks = valid_near(asset.ticks(mid * (1.0 + side * 0.05)), asset.sz_decimals)
    lots = max(1, round(usd / mid * asset.lots_per_coin))
    run.venue.submit(run.user, NewOrder(asset_id, side, ticks, lots, Tif.IOC))


def swept_while_stopping(run: PipeRun) -> None:
    """A taker comes for our bids, and the program is stopped before it hears of it."""
    bids = [float(each["limitPx"]) for each in run.resting() if each["side"] == "B"]
    instrument = run.instrument
    somebody = "0x" + "5e" * 20
    run.venue.open_account(somebody, usd=0, is_house=True)
    px_ticks = round(instrument.ticks(min(bids)))
    order = NewOrder(instrument.asset_id, Side.SELL, px_ticks, 1_000_000_000, Tif.IOC)
    run.venue.submit(somebody, order)
    run.trader.stop("Ctrl+C")
    run.ended(120)


def inherit(side: Side, usd: float) -> Act:
    """A position before the run begins."""
    return lambda run: _take(run, side, usd)


def withdraw(usd: float) -> Act:
    """Money leaves the account."""

    def act(run: PipeRun) -> None:
        account = run.venue.account(run.user)
        refusal = class_transfer(
            run.venue.state, account, {"amount": f"{usd:.2f}", "toPerp": False}
        )
        assert refusal is None, refusal

    return act


def overcharge(factor: float) -> Act:
    """The venue charges more than it says when it is asked."""

    def act(run: PipeRun) -> None:
        asset_id = run.venue.asset_id(run.coin)
        assert asset_id is not None
        run.venue.account(run.user).maker_rate = 0.00015 * factor

    return act


def step_clock(span_s: float) -> Act:
    """Somebody sets the clock of the machine."""

    def act(run: PipeRun) -> None:
        run.set_ns += round(span_s * NS_PER_S)

    return act


def kill(run: PipeRun) -> None:
    """The operator trips the switch."""
    run.trader.kill("operator: mmbot kill")


def lag(span_s: float) -> Act:
    """The disk of the journal does not answer for a while."""

    def act(run: PipeRun) -> None:
        _STEADY[id(run)].hang(run, round(span_s * NS_PER_S))

    return act


class Steady:
    """The clock by which the journal's lag is measured: it runs only while the disk hangs."""

    def __init__(self) -> None:
        self._sim: SimLoop | None = None
        self._since_ns = self._until_ns = 0

    def hang(self, run: PipeRun, span_ns: int) -> None:
        """Let the disk not answer for so long from now."""
        self._sim, self._since_ns = run.sim, run.sim.clock()
        self._until_ns = self._since_ns + span_ns

    @property
    def is_hanging(self) -> bool:
        """Whether nothing can be written now."""
        return self._sim is not None and self._sim.clock() < self._until_ns

    def __call__(self) -> int:
        return self._sim.clock() - self._since_ns if self._sim and self.is_hanging else 0


_STEADY: dict[int, Steady] = {}
"""Of the runs under way, by their identity."""


def play(
    folder: Path,
    *,
    scenario: str = "demo",
    seed: int = 1,
    span_s: float = 300.0,
    fault: Fault | None = None,
    sets: Sequence[str] = WIDE,
    acts: Sequence[tuple[float, Act]] = (),
    prepare: Act | None = None,
    stop: Act | None = None,
    set_ns: int = 0,
) -> PipeRun:
    """
    One run, with everything `mmbot run` leaves in its folder.

    Args:
        folder: Where it goes; made if it is not there.
        scenario: The market.
        seed: Of the market.
        span_s: How long it trades.
        fault: What is wrong with it.
        sets: Configuration.
        acts: What happens at which part of the run, 0 to 1, beside the fault's.
        prepare: Does something to the exchange before the program begins.
        stop: Ends it; Ctrl+C by default.
        set_ns: By how much the clock of the machine is ahead from the beginning.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chosen = fault or Fault(())
    steady = Steady()
    writer = Writer(folder, JournalParams(), steady=steady, has_thread=False)
    records = FileRecords(folder / "log.jsonl")

    def prepared(run: PipeRun) -> None:
        for each in (prepare, chosen.prepare):
            if each is not None:
                each(run)

    run = PipeRun(
        scenario,
        seed=seed,
        sets=(*sets, *chosen.sets),
        market=chosen.market,
        journal=writer,
        records=records,
        prepare=prepared,
        has_wall_clock=True,
        set_ns=set_ns,
    )
    _STEADY[id(run)] = steady
    run.dialer.tamper = Tamper()
    describe_run(run.config, folder)
    if chosen.begun is not None:
        chosen.begun(run)
    run.start()
    trade(run, writer, span_s, [*acts, *chosen.acts], steady)
    if not run.endings:
        if stop is None:
            run.trader.stop("Ctrl+C")
        else:
            stop(run)
        run.ended(120)
    del _STEADY[id(run)]
    conclude(run, writer, folder)
    records.close()
    return run


def trade(
    run: PipeRun,
    writer: Writer,
    span_s: float,
    acts: Sequence[tuple[float, Act]],
    steady: Steady,
) -> None:
    """Let a span pass, acting on the way."""
    begun_ns = run.sim.clock()
    due = sorted(acts, key=lambda act: act[0])
    while not run.endings:
        at_s = (run.sim.clock() - begun_ns) / NS_PER_S
        while due and due[0][0] * span_s <= at_s:
            run.driver.catch_up()
            due.pop(0)[1](run)
            run.driver.settle()
        if at_s >= span_s:
            return
        until_s = min(span_s, due[0][0] * span_s if due else span_s, at_s + _DRAIN_S)
        run.sim.run_for(max(0.001, until_s - at_s))
        if not steady.is_hanging:
            writer.drain()


def conclude(run: PipeRun, writer: Writer, folder: Path) -> None:
    """Close the journal and say how it ended, as `mmbot run` does."""
    ending = run.endings[0]
    span_s = (run.sim.clock() - START_MS * NS_PER_MS) / NS_PER_S
    summary = summarise(run.trader, ending, span_s)
    code = int(ending.exit_code)
    writer.close(Ended(at_ns=run.sim.clock(), reason=ending.reason, exit_code=code))
    run.trader.log.info("run.ended", **summary)
    write_summary(folder, summary)
    if run.latched:
        report = killreport.tripped(run.trader, run.config, run.latched[0])
        killreport.write(folder, killreport.ended(report, ending, summary, is_latched=True))


def equity_usd(run: PipeRun) -> float:
    """The account value by the venue's books."""
    return float(run.state()["marginSummary"]["accountValue"])


def loaded(folder: Path) -> dict[str, Any]:
    """`report.json` of a folder."""
    found: dict[str, Any] = json.loads((folder / "report.json").read_text("utf-8"))
    return found
