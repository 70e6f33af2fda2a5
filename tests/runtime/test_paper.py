"""A paper run in simulated time: what it fills, what it asks for, what a lost line does to it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from mmbot.cli.app import build
from mmbot.core.types import NS_PER_MS
from mmbot.errors import Exit
from mmbot.journal.reader import Journal
from mmbot.journal.records import Started, decode
from mmbot.journal.writer import JournalParams, Writer
from mmbot.runtime.replay import replay
from mmbot.runtime.rundir import describe_run, mode_text
from runtime.mirrored import Mirrored, Taken
from runtime.paper_rig import PaperRun
from support import IS_THOROUGH

PATIENT = ("risk.loss_limit_frac=0.5", "risk.drawdown_limit_frac=0.5")
STILL = {"sigma_bps_rt_s": 0, "a_per_s": 0, "sweeps_per_s": 0, "oracle_noise_bps": 0}


def usd(fills: list[dict[str, str]]) -> float:
    """What was traded."""
    return sum(float(fill["px"]) * float(fill["sz"]) for fill in fills)


def test_a_paper_run_trades_and_its_books_close_to_the_cent() -> None:
    """Cash, position and fees are those of a venue: nothing is gained by how fills are booked."""
    run = PaperRun(sets=PATIENT)
    run.start()
    run.run(240)
    ending = run.stop()

    summary = run.summary()
    assert ending.exit_code is Exit.OK
    assert summary["mode"] == "paper"
    assert summary["fills"] == len(run.fills()) > 20
    assert summary["funding_usd"] != 0  # the run crosses a full hour with a position
    assert abs(summary["ledger_gap_usd"]) < 1e-6
    assert run.venue.imbalance_u("USDC") == 0
    assert run.resting() == []


def test_the_watched_exchange_hears_of_no_account_and_of_no_order() -> None:
    """Whatever goes wrong on paper, it goes wrong in this process."""
    run = PaperRun(sets=(*PATIENT, "on_exit=flatten"))
    run.start()
    run.run(120)
    topics = [topic for session in list(run.watched._sessions) for topic in session.topics.values()]
    run.stop()

    assert len(run.fills()) > 5
    assert run.paper.exchange.requests_seen > 20
    assert run.watched.requests_seen == 0
    assert topics
    assert {topic.user for topic in topics} == {None}
    public = {"meta", "metaAndAssetCtxs", "perpsAtOpenInterestCap", "exchangeStatus", "l2Book"}
    assert run.watched.asked.keys() <= public


def test_questions_that_name_an_account_stay_here_whatever_they_ask() -> None:
    """The gate is one rule, not a list of what the program asks today."""
    run = PaperRun(market=STILL)
    asked: list[str] = ["userFills", "clearinghouseState", "notYetInvented"]
    before = dict(run.watched.asked)
    for kind in asked:
        run.paper.post(
            "/info", msgspec.json.encode({"type": kind, "user": run.user}), lambda _: None, 5.0
        )
    run.paper.post("/exchange", b"{}", lambda _: None, 5.0)
    run.paper.post("/other", b'{"type":"meta"}', lambda _: None, 5.0)
    run.paper.post("/info", b"nonsense", lambda _: None, 5.0)
    run.sim.run_for(10)
    assert dict(run.watched.asked) == before

    run.paper.post("/info", b'{"type":"meta"}', lambda _: None, 5.0)
    run.sim.run_for(1)
    assert run.watched.asked["meta"] == before.get("meta", 0) + 1


def test_a_lost_line_pulls_the_quotes_and_they_come_back() -> None:
    """As with money: nothing rests while nobody sees the market."""
    run = PaperRun(market=STILL)
    run.start()
    run.run(10)
    assert {row["side"] for row in run.resting()} == {"A", "B"}

    run.line.refuse = "away"
    run.line.cut()
    run.run(3)
    assert run.resting() == []
    assert run.log.named("link.lost")

    run.line.refuse = None
    run.run(40)
    assert {row["side"] for row in run.resting()} == {"A", "B"}


def test_bids_that_the_market_falls_through_while_the_line_is_down_are_filled() -> None:
    """Nobody saw a trade; a real bid would have been the first to go."""
    sets = ("paper.order_latency_ms=1200", "link.backoff_first_s=0.05")
    run = PaperRun(market=STILL, sets=sets)
    run.start()
    run.run(15)
    bids = sum(float(row["sz"]) for row in run.resting() if row["side"] == "B")
    assert bids > 0
    assert not run.fills()

    run.line.cut()
    run.market.force_px(26.0)
    run.run(1)

    assert run.log.named("link.opened")[1:]
    assert sum(float(fill["sz"]) for fill in run.fills()) == pytest.approx(bids)
    assert {fill["side"] for fill in run.fills()} == {"B"}


def test_a_quote_is_late_by_the_latency_of_an_order() -> None:
    """Paper that answers at once would quote where the market no longer is."""
    firsts = {}
    for latency_ms in (200, 1200):
        run = PaperRun(market=STILL, sets=(f"paper.order_latency_ms={latency_ms}",))
        run.start()
        sent_ns: list[int] = []
        while not run.resting() and run.sim.clock() < 20 * 10**9 + run.trader.started_ns:
            seen = run.paper.exchange.requests_seen
            run.sim.run_for(0.01)
            if run.paper.exchange.requests_seen > seen:
                sent_ns.append(run.sim.clock())
        assert run.resting()
        firsts[latency_ms] = run.sim.clock() - next(t for t in sent_ns if t)
    assert firsts[200] >= 390 * NS_PER_MS
    assert firsts[1200] - firsts[200] > 900 * NS_PER_MS


def test_a_paper_run_replays_exactly(tmp_path: Path) -> None:
    """Its journal says that the book does not hold our orders; a replay has to believe it."""
    journal = Writer(tmp_path, JournalParams())
    run = PaperRun(sets=PATIENT, journal=journal)
    run.start()
    run.run(60)
    run.stop()
    journal.close()

    result = replay(tmp_path)

    assert result.decisions > 100
    assert result.difference is None
    records = (decode(it.kind, it.payload) for it in Journal.of(tmp_path).entries())
    began = next(record for record in records if isinstance(record, Started))
    assert began.own_in_book is False


def test_a_replay_and_a_tail_of_a_paper_run_say_that_it_is_one(tmp_path: Path) -> None:
    """`latest` is the newest run of every mode: its figures must not be taken for money."""
    journal = Writer(tmp_path, JournalParams())
    run = PaperRun(sets=PATIENT, journal=journal)
    run.start()
    run.run(20)
    run.stop()
    journal.close()
    describe_run(run.config, tmp_path)

    def said(*words: str) -> str:
        done = CliRunner().invoke(build(list(words)), list(words))
        assert done.exit_code == 0, done.output
        return done.output

    asked = ("replay", str(tmp_path), "--set", "quoter.gamma_per_bp=2x")
    for command in (("replay", str(tmp_path)), asked):
        shown = said(*command).splitlines()
        assert shown[1].split(maxsplit=1) == ["mode", mode_text("paper")]
        assert json.loads(said(*command, "--json"))["mode"] == "paper"
    (head,) = [line for line in shown if "effect" in line and "sim. error" in line][:1]
    assert head.split()[0] == "paper"
    assert not [line for line in shown if "real" in line.replace("real prices", "")]
    assert "PAPER" in said("tail", str(tmp_path)).splitlines()[0]


# -- against an account that really trades -------------------------------------------------------


# The quiet one needs five minutes for a few fills.
MIRRORED = [("demo", 60.0, (1, 2)), ("hype", 300.0, (1, 2) if IS_THOROUGH else (2,))]


@pytest.fixture(scope="module", params=MIRRORED, ids=["demo", "hype"])
def accounts(request: pytest.FixtureRequest) -> tuple[Taken, Taken, Taken]:
    """The same orders at the venue, on paper, and on paper where they live a second longer."""
    scenario, span_s, seeds = request.param
    sums = [Taken(), Taken(), Taken()]
    for seed in seeds:
        run = Mirrored(scenario, seed, sets=PATIENT, keeps_ms=(0, 1000))
        run.trade(span_s)
        for whole, part in zip(sums, run.taken(), strict=True):
            whole.add(part)
    venue, paper, longer = sums
    return venue, paper, longer


def test_the_same_orders_fill_no_more_on_paper_than_at_the_venue(
    accounts: tuple[Taken, Taken, Taken],
) -> None:
    """The model errs against us where the truth is known, and still lets most of it through."""
    venue, paper, _ = accounts
    assert venue.sz / 2 < paper.sz <= venue.sz


def test_the_same_orders_earn_no_more_on_paper_than_at_the_venue(
    accounts: tuple[Taken, Taken, Taken],
) -> None:
    """
    Fewer fills are no caution if those are missing that lose money.

    An order that ends at the venue because it was filled there ends on paper unfilled if paper is
    the later one, so only the longer lives can be compared by the fill.
    """
    venue, paper, longer = accounts
    assert paper.worth(5) <= venue.worth(5)
    assert longer.markout_bps(5) <= venue.markout_bps(5)
