"""A paper run in simulated time: the program, its account on paper, and an exchange it watches."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mmbot.config import PAPER_ADDRESS, Config, load
from mmbot.core.types import NS_PER_MS, NS_PER_S, Instrument
from mmbot.emulator.paper import paper_exchange
from mmbot.emulator.scenarios import build_venue
from mmbot.emulator.wire import Exchange, ExchangeParams
from mmbot.hyperliquid.signing import Signer
from mmbot.hyperliquid.universe import Universe
from mmbot.journal.writer import Writer
from mmbot.runtime.ending import Ending
from mmbot.runtime.paper import PaperVenue
from mmbot.runtime.pipe import PipeDialer, PipeHttp, SimLoop
from mmbot.runtime.piped import LATENCY_NS, Piped
from mmbot.runtime.summary import summarise
from runtime.pipe_rig import CONFIG, START_MS

KEY = b"\x09" * 32
"""Signs on paper alone."""


class PaperRun(Piped):
    """
    A `Trader` on paper over an emulated exchange in the place of the real one.

    Attributes:
        watched: The exchange whose public side is all that is used of it.
        line: The way there, which can be cut.
        paper: Between the trader and that way.
    """

    def __init__(
        self,
        scenario: str = "demo",
        *,
        seed: int = 1,
        sets: Sequence[str] = (),
        market: Mapping[str, object] | None = None,
        journal: Writer | None = None,
        config: Config | None = None,
    ) -> None:
        config = config or load(CONFIG, ["mode=paper", f"emulator.scenario={scenario}", *sets])
        coin = config.instrument.wire_coin
        self.watched_venue, self.market = build_venue(
            coin, scenario, overrides=market or {}, seed=seed, now_ms=START_MS, accounts=[]
        )
        self.watched = Exchange(self.watched_venue, self.market, ExchangeParams(), market_coin=coin)
        sim = SimLoop(START_MS * NS_PER_MS)
        signer = Signer(KEY, is_mainnet=False)
        instrument = instrument_of(self.watched, coin)
        mark_px = float(self.watched_venue.asset(instrument.asset_id).mark_ticks) * 10 ** (
            instrument.sz_decimals - 6
        )
        books, told = paper_exchange(
            instrument,
            config.paper,
            user=PAPER_ADDRESS,
            agent=signer.address,
            equity_usd=config.risk.capital_usd,
            mark_px=mark_px,
            oracle_px=mark_px,
            now_ms=START_MS,
        )
        self.venue = books.venue
        self.line = PipeDialer(sim, self.watched, LATENCY_NS)
        self.paper = PaperVenue(
            books,
            told,
            instrument,
            user=PAPER_ADDRESS,
            time=sim,
            dialer=self.line,
            http=PipeHttp(sim, self.watched, LATENCY_NS),
            url="ws://watched/ws",
        )
        super().__init__(
            config,
            self.watched,
            sim,
            signer=signer,
            user=PAPER_ADDRESS,
            run=seed,
            jitter=random.Random(seed),
            level="debug",
            journal=journal,
            paper=self.paper,
        )

    def start(self) -> None:
        """Set the leverage, then connect."""
        refusal = self.lever()
        assert refusal is None, refusal
        self.trader.start()

    def run(self, span_s: float) -> None:
        """Trade for a span, or to the end."""
        until_ns = self.sim.clock() + round(span_s * NS_PER_S)
        while self.sim.clock() < until_ns and not self.endings:
            self.sim.run_until(min(until_ns, self.sim.clock() + NS_PER_S // 4))

    def stop(self) -> Ending:
        """Stop as Ctrl+C does, and wait for the end."""
        self.trader.stop("Ctrl+C")
        assert self.sim.run_till(lambda: bool(self.endings), 30)
        return self.endings[0]

    def fills(self) -> list[dict[str, Any]]:
        """Fills of the account on paper."""
        rows: list[dict[str, Any]] = self.venue.user_fills(PAPER_ADDRESS, aggregate=False)
        return rows

    def resting(self) -> list[dict[str, Any]]:
        """What rests on paper."""
        rows: list[dict[str, Any]] = self.venue.open_orders(PAPER_ADDRESS, "")
        return rows

    def summary(self) -> dict[str, Any]:
        """The run summary as `mmbot run` writes it."""
        return summarise(self.trader, self.endings[0], 0.0, mode="paper")


def instrument_of(exchange: Exchange, coin: str) -> Instrument:
    """The perp as the exchange lists it."""
    dex = coin.rpartition(":")[0]

    def ask(**payload: str) -> bytes:
        body = msgspec.json.encode(payload)
        return exchange.http("POST", "/info", "application/json", body).body

    dexs = ask(type="perpDexs") if dex else None
    return Universe.parse(ask(type="meta", dex=dex), dexs, dex).instrument(coin)
