"""A paper run in simulated time: what it fills, what it asks for, what a lost line does to it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from mmbot.core.types import NS_PER_MS
from mmbot.emulator.paper import paper_exchange
from mmbot.emulator.papering import PaperParams
from mmbot.emulator.scenarios import build_venue
from mmbot.emulator.wire import Exchange, ExchangeParams
from mmbot.errors import Exit
from mmbot.hyperliquid.wire import Decoder
from mmbot.journal.reader import Journal
from mmbot.journal.records import Started, decode
from mmbot.journal.writer import JournalParams, Writer
from mmbot.runtime.connecting import subscriptions
from mmbot.runtime.replay import replay
from runtime.paper_rig import PaperRun
from runtime.pipe_rig import START_MS, PipeRun

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


# -- against an account that really trades -------------------------------------------------------


class Mirrored:
    """
    A trading account, and its orders on paper at the same time on a twin of its market.

    The twin is of the same seed and has no such account, as a real market has none of paper's. An
    order that ends at the venue is ended on paper too: the two are compared over one life.
    """

    def __init__(self, scenario: str, seed: int) -> None:
        self.run = run = PipeRun(scenario, seed=seed, sets=PATIENT)
        params = PaperParams(order_latency_ms=50, feed_lag_ms=0, reply_latency_ms=0)
        mark_px = run.touch()[0]
        self.books, self.market = paper_exchange(
            run.instrument,
            params,
            user=run.user,
            agent="0x" + "1" * 40,
            equity_usd=1e6,
            mark_px=mark_px,
            oracle_px=mark_px,
            now_ms=run.exchange.now_ms,
        )
        venue, market = build_venue(
            "HYPE", scenario, overrides={}, seed=seed, now_ms=START_MS, accounts=[]
        )
        self.twin = Exchange(venue, market, ExchangeParams(), market_coin="HYPE")
        self.session = self.twin.connect()
        for topic in subscriptions("HYPE", run.user, None):
            if "user" not in topic:
                message = {"method": "subscribe", "subscription": topic}
                self.session.receive(msgspec.json.encode(message).decode())
        self.decoder = Decoder(run.instrument, user=run.user)
        self._copied = 0

    def trade(self, span_s: float) -> None:
        """Trade for a span."""
        self.run.start()
        for _ in range(round(span_s / 0.02)):
            self.run.sim.run_for(0.02)
            now_ns = self.run.sim.clock()
            self.twin.advance(now_ns // NS_PER_MS)
            self.books.advance(now_ns // NS_PER_MS)
            for text in self.session.take():
                for event in self.decoder.decode(text.encode(), now_ns):
                    self.market.see(event)  # type: ignore[arg-type]
            self.books.collect()
            self._copy()

    def _copy(self) -> None:
        seen = self.run.exchange.requests
        if len(seen) > self._copied:
            for entry in list(seen)[self._copied :]:
                body = msgspec.json.encode(entry["body"])
                self.books.request("POST", "/exchange", "application/json", body, lambda _: None)
            self._copied = len(seen)
        known_ms = self.run.sim.clock() // NS_PER_MS - 200
        live = {row["cloid"] for row in self.run.resting()}
        for row in self.books.venue.open_orders(self.run.user, ""):
            if row["cloid"] not in live and row["timestamp"] < known_ms:
                self.books.venue.cancel(self.run.user, 5, oid=row["oid"])

    def filled(self, exchange: Exchange) -> int:
        """Lots filled."""
        rows = exchange.venue.user_fills(self.run.user, aggregate=False)
        return sum(round(float(fill["sz"]) * 100) for fill in rows)


def compared(scenario: str, span_s: float) -> tuple[int, int]:
    """Lots filled at the venue, and on paper, over some seeds."""
    real = paper = 0
    for seed in (1, 2):
        pair = Mirrored(scenario, seed)
        pair.trade(span_s)
        real += pair.filled(pair.run.exchange)
        paper += pair.filled(pair.books)
    return real, paper


@pytest.mark.parametrize(("scenario", "span_s"), [("demo", 60.0), ("hype", 300.0)])
def test_the_same_orders_fill_no_more_on_paper_than_at_the_venue(
    scenario: str, span_s: float
) -> None:
    """The model errs against us where the truth is known, and still lets most of it through."""
    real, paper = compared(scenario, span_s)

    assert real / 3 < paper <= real
