"""The whole daemon, as `mmbot run` assembles it, on an emulated exchange in simulated time."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmbot.config import load
from mmbot.core.estimators.cascade import CascadeMemory
from mmbot.core.orders import SlotState
from mmbot.core.risk import Day
from mmbot.core.types import NS_PER_MS, NS_PER_S
from mmbot.emulator.scenarios import build_venue
from mmbot.emulator.wire import Exchange, ExchangeParams
from mmbot.hyperliquid.signing import Signer
from mmbot.journal.writer import Writer
from mmbot.runtime.aio import WallClock
from mmbot.runtime.campaign.stage import Timers
from mmbot.runtime.cloids import is_ours
from mmbot.runtime.ending import Ending
from mmbot.runtime.pipe import SimLoop
from mmbot.runtime.piped import WORTHLESS_KEY, Piped, Records
from mmbot.runtime.summary import summarise

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
HOUR_MS = 3_600_000
START_MS = 497_635 * HOUR_MS - 150_000
"""Two and a half minutes before a full hour: a run of ten minutes pays or receives funding."""
EQUITY_USD = 1000.0


class PipeRun(Piped):
    """
    A `Trader` over the pipe, and the venue's own books beside it.

    Attributes:
        strays: Orders of ours that rested at a sampled moment without a slot in the engine.
        ghosts: Slots the engine believed to rest `ghost_s` after the venue had no such order.
        exposure_max: Largest position plus everything resting on its side, over the limit.
        side_max: Largest resting size of one side over what a side may hold.
        set_ns: By how much the machine's clock was set, with `has_wall_clock`.
    """

    def __init__(
        self,
        scenario: str = "demo",
        *,
        seed: int = 1,
        sets: Sequence[str] = (),
        market: Mapping[str, object] | None = None,
        latency_ms: int = 50,
        journal: Writer | None = None,
        memory: CascadeMemory | None = None,
        day: Day | None = None,
        coin: str = "HYPE",
        prepare: Callable[[PipeRun], None] | None = None,
        signer: Signer | None = None,
        records: Records | None = None,
        has_wall_clock: bool = False,
        set_ns: int = 0,
    ) -> None:
        self.dex, _, name = coin.rpartition(":")
        self.coin = coin
        named = [f"instrument.coin={name}", f"instrument.dex={self.dex}"] if self.dex else []
        config = load(CONFIG, [f"emulator.scenario={scenario}", *named, *sets])
        owner = Signer(WORTHLESS_KEY, is_mainnet=False)
        self.user = owner.address
        self.venue, self.market = build_venue(
            coin,
            scenario,
            overrides=market or {},
            seed=seed,
            now_ms=START_MS,
            accounts=[(self.user, EQUITY_USD)],
        )
        self.exchange = Exchange(
            self.venue,
            self.market,
            ExchangeParams(latency_ms=latency_ms, requests_kept=100_000),
            market_coin=coin,
            chance=random.Random(seed),
        )
        if prepare is not None:
            prepare(self)
        if signer is not None:
            self.exchange.gate.identities.approve_agent(self.user, signer.address, "", START_MS)
        sim = SimLoop(START_MS * NS_PER_MS)
        self.set_ns = set_ns
        # The product's own clock over one that a test may set.
        clock = WallClock(lambda: sim.clock() + self.set_ns, sim.clock) if has_wall_clock else None
        super().__init__(
            config,
            self.exchange,
            sim,
            signer=signer or owner,
            user=self.user,
            run=seed,
            jitter=random.Random(seed),
            level="debug",
            journal=journal,
            memory=memory,
            day=day,
            records=records,
            clock=clock,
            scheduler=None if clock is None else Timers(sim, clock),
        )
        self.strays: list[tuple[float, str]] = []
        self.ghosts: list[tuple[float, str]] = []
        self.exposure_max = 0.0
        self.side_max = 0.0
        self.samples = 0
        self.ghost_s = 1.0
        self._missing_since: dict[int, int] = {}

    # -- driving ------------------------------------------------------------------------------

    def start(self) -> None:
        """Set the leverage, as `mmbot run` does before it connects, then connect."""
        refusal = self.lever()
        assert refusal is None, refusal
        self.trader.start()

    def faults(self, **changes: Any) -> None:
        """Set faults of the venue."""
        self.exchange.faults.update(changes)

    def run(self, span_s: float, *, every_s: float = 0.25) -> None:
        """Trade for a span, looking at the venue's books every so often."""
        until_ns = self.sim.clock() + round(span_s * NS_PER_S)
        while self.sim.clock() < until_ns and not self.endings:
            self.sim.run_until(min(until_ns, self.sim.clock() + round(every_s * NS_PER_S)))
            self.look()

    def stop(self) -> Ending:
        """Stop as Ctrl+C does, and wait for the end."""
        self.trader.stop("Ctrl+C")
        return self.ended()

    def ended(self, limit_s: float = 30) -> Ending:
        """The ending, which must come within this time."""
        assert self.sim.run_till(lambda: bool(self.endings), limit_s), self.log.all[-5:]
        assert len(self.endings) == 1
        return self.endings[0]

    # -- looking ------------------------------------------------------------------------------

    def look(self) -> None:
        """Compare the engine's orders with the venue's, and both with the limits."""
        self.samples += 1
        now_ns = self.sim.clock()
        at_s = (now_ns - START_MS * NS_PER_MS) / NS_PER_S
        rows = self.resting()
        slots = self.trader.engine.orders.slots
        resting: set[int] = set()
        for row in rows:
            cloid = int(row["cloid"], 16)
            assert is_ours(cloid)
            resting.add(cloid)
            if cloid not in slots:
                self.strays.append((at_s, row["cloid"]))
        believed = {c for c, slot in slots.items() if slot.state is SlotState.WORKING} - resting
        self._missing_since = {c: self._missing_since.get(c, now_ns) for c in believed}
        self.ghosts.extend(
            (at_s, f"{cloid:#034x}")
            for cloid, since_ns in self._missing_since.items()
            if now_ns - since_ns >= self.ghost_s * NS_PER_S and self.trader.link.is_up
        )
        self._weigh(rows)

    def _weigh(self, rows: Sequence[dict[str, Any]]) -> None:
        limits, mid = self.trader.engine.limits, self.trader.engine.book.last_mid_ticks
        if limits is None or mid is None:
            return
        q_max_sz = self.instrument.sz(limits.q_max_lots(mid))
        held_sz = self.position_sz()
        for sign, mark in ((1, "B"), (-1, "A")):
            side_sz = sum(float(row["sz"]) for row in rows if row["side"] == mark)
            self.exposure_max = max(self.exposure_max, (sign * held_sz + side_sz) / q_max_sz)
            side_limit_sz = max(limits.side_budget_frac * q_max_sz, -sign * held_sz)
            self.side_max = max(self.side_max, side_sz / side_limit_sz)

    def resting(self) -> list[dict[str, Any]]:
        """Our open orders, by the venue's word."""
        rows: list[dict[str, Any]] = self.venue.open_orders(self.user, self.dex)
        return rows

    def touch(self) -> tuple[float, float]:
        """Best bid and ask, by the venue's word."""
        book = self.venue.l2_book(self.coin)
        assert book is not None
        bids, asks = book["levels"]
        return float(bids[0]["px"]), float(asks[0]["px"])

    def position_sz(self) -> float:
        """Our position, by the venue's word."""
        for row in self.state()["assetPositions"]:
            if row["position"]["coin"] == self.coin:
                return float(row["position"]["szi"])
        return 0.0

    def state(self) -> dict[str, Any]:
        """`clearinghouseState` of our account."""
        state: dict[str, Any] = self.venue.clearinghouse_state(self.user, self.dex)
        return state

    def fills(self) -> list[dict[str, Any]]:
        """Our fills, by the venue's word."""
        rows: list[dict[str, Any]] = self.venue.user_fills(self.user, aggregate=False)
        return rows

    def actions(self) -> list[dict[str, Any]]:
        """Every action the venue received, as it was on the wire."""
        return [entry["body"]["action"] for entry in self.exchange.requests]

    def summary(self) -> dict[str, Any]:
        """The run summary as `mmbot run` writes it."""
        return summarise(self.trader, self.endings[0], 0.0)
