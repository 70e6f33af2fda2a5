"""
The program on the bench: assembled as for a run, joined to the stage, and read off the wire.

`Trader` is what `mmbot run` assembles; transport, time and HTTP are the in-memory pipe. What is
believed of its quotes comes from the signed actions that it sent, decoded here from their JSON.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from itertools import count
from math import ceil
from typing import Any, Final, NamedTuple

from mmbot.config import Config
from mmbot.core.hours import HoursParams
from mmbot.core.types import NS_PER_MS, NS_PER_S, Instrument, Side
from mmbot.emulator.wire import Exchange, ExchangeParams
from mmbot.errors import CheckError
from mmbot.hyperliquid.signing import Signer
from mmbot.runtime.cloids import CLOID_MAGIC
from mmbot.runtime.pipe import SimLoop
from mmbot.runtime.piped import WORTHLESS_KEY, Piped
from mmbot.runtime.selftest.stage import Stage
from mmbot.runtime.trader import Trader

_START_MS: Final = 497_635 * 3_600_000 + 600_000
"""Ten minutes past a full hour: no funding is paid during a test."""
_BLOCK_MS: Final = 50
_RUN: Final = 1
_TAKEN: Final = (CLOID_MAGIC << 48 | _RUN) << 64 | 1 << 63
"""First number of the orders that bring the position to where a row wants it."""
_ROOM: Final = 0.5
_SOFT_ROOM: Final = 0.4
_GAP_BPS: Final = 1000.0
_PATIENT_S: Final = 1e9
"""Loss limits of the bench, fractions: a term is to be seen, not what a loss does."""
_ROUSE_S: Final = 20.0
FRESH: Final = 0.6
"""Part of the age at which a reference is absent in which it must change to stay present."""

Tamper = Callable[[Trader], None]
"""Changes an assembled program before it is started; for tests that break it."""


class Resting(NamedTuple):
    """One order of ours that rests, as its payload said."""

    px_ticks: int
    sz_lots: int
    is_reduce_only: bool


class Shown(NamedTuple):
    """What rests of ours, nearest first, and the fair price that the stage shows."""

    bids: tuple[Resting, ...]
    asks: tuple[Resting, ...]
    fair_ticks: float

    def side(self, side: Side) -> tuple[Resting, ...]:
        """Orders of one side."""
        return self.bids if side > 0 else self.asks

    def depth_bps(self, side: Side) -> float | None:
        """Distance of the nearest order from fair; None without one."""
        orders = self.side(side)
        if not orders:
            return None
        return side * (self.fair_ticks - orders[0].px_ticks) / self.fair_ticks * 1e4


class Wire:
    """Follows the signed actions: what was asked for by each of our order ids."""

    def __init__(self, exchange: Exchange, instrument: Instrument) -> None:
        self._exchange = exchange
        self._instrument = instrument
        self._seen = 0
        self.orders: dict[str, tuple[Side, Resting]] = {}
        self.elements = 0
        """Orders placed and moved so far."""

    def read(self) -> None:
        """Take in what was sent since the last time."""
        new = self._exchange.requests_seen - self._seen
        self._seen += new
        if not new:
            return
        for entry in list(self._exchange.requests)[-new:]:
            action = entry["body"]["action"]
            if action["type"] == "order":
                for order in action["orders"]:
                    self._keep(order)
            elif action["type"] == "batchModify":
                for change in action["modifies"]:
                    self._keep(change["order"])

    def _keep(self, order: Mapping[str, Any]) -> None:
        instrument = self._instrument
        if order["a"] != instrument.asset_id or order["t"] != {"limit": {"tif": "Alo"}}:
            raise CheckError(f"self-test: an order that is no quote of ours was sent: {order}")
        resting = Resting(
            round(instrument.ticks(float(order["p"]))),
            round(instrument.lots(float(order["s"]))),
            bool(order["r"]),
        )
        self.elements += 1
        self.orders[order["c"]] = (Side.BUY if order["b"] else Side.SELL, resting)


class Bench(Piped):
    """
    One program on one stage, in simulated time.

    Time goes second by second: the stage moves on the full second, the program has half of one to
    answer, then the wire is read.
    """

    def __init__(
        self,
        config: Config,
        *,
        instrument: Instrument | None = None,
        tamper: Tamper | None = None,
    ) -> None:
        signer = Signer(WORTHLESS_KEY, is_mainnet=False)
        coin = config.instrument.wire_coin
        self.stage = Stage(
            coin,
            reference=config.reference.coin,
            user=signer.address,
            equity_usd=2 * config.risk.capital_usd,
            limit_usd=config.risk.position_limit_usd(config.risk.capital_usd),
            now_ms=_START_MS,
            step_ms=_step_ms(config),
            instrument=instrument,
        )
        super().__init__(
            _with_room(config),
            Exchange(
                self.stage.venue,
                self.stage,
                ExchangeParams(latency_ms=_BLOCK_MS, block_ms=_BLOCK_MS, requests_kept=1000),
                market_coin=coin,
            ),
            SimLoop(_START_MS * NS_PER_MS),
            signer=signer,
            user=signer.address,
            run=_RUN,
            jitter=random.Random(1),  # noqa: S311 - spreads reconnects, guards nothing
            level="info",
            answer_s=0.05,
            has_collateral=True,
        )
        self._cloids = count(_TAKEN + 1)
        if tamper is not None:
            tamper(self.trader)
        self.wire = Wire(self.exchange, self.instrument)
        self.on_second: Callable[[], None] = _nothing
        """Called after every second."""

    def start(self) -> None:
        """
        Set the leverage, connect, and wait for quotes on both sides.

        Raises:
            CheckError: They do not come.
        """
        refusal = self.lever()
        if refusal is not None:
            raise CheckError(f"self-test: the leverage could not be set: {refusal}")
        self.know()
        self.trader.start()
        # Half a second off: the stage moves on the full ones.
        half_ns = NS_PER_S // 2
        self.sim.run_until((self.sim.clock() // NS_PER_S + 1) * NS_PER_S + half_ns)
        for _ in range(round(_ROUSE_S)):
            self.second()
            shown = self.shown()
            if shown.bids and shown.asks:
                return
        why = "; ".join(self.log.texts()) or "no reason was logged"
        raise CheckError(f"self-test: no quotes on both sides within {_ROUSE_S:g} s: {why}")

    # -- time -------------------------------------------------------------------------------------

    @property
    def now_ns(self) -> int:
        """Simulated time."""
        return self.sim.clock()

    def second(self) -> None:
        """Let one second pass."""
        self.sim.run_until(self.sim.clock() + NS_PER_S)
        self.wire.read()
        self.on_second()

    def seconds(self, count: int) -> None:
        """Let several pass."""
        for _ in range(count):
            self.second()

    # -- the account ------------------------------------------------------------------------------

    def q_max_lots(self) -> float:
        """Position limit at the present price, by the configuration alone."""
        risk = self.config.risk
        leverage = min(risk.leverage, self.instrument.max_leverage)
        limit_usd = min(
            risk.position_limit_usd(risk.capital_usd),
            risk.capital_usd * leverage,
            5 * risk.capital_usd,
        )
        return limit_usd / (self.stage.mid_ticks * 1e-6)

    @property
    def x(self) -> float:
        """Position as a fraction of its limit, by the venue's books."""
        return self.stage.position_lots() / self.q_max_lots()

    def hold(self, x: float) -> None:
        """
        Bring the position to `x` limits by a taker order of this run.

        Raises:
            CheckError: The emulated venue refuses it.
        """
        missing = round(x * self.q_max_lots()) - self.stage.position_lots()
        filled = self.stage.take(missing, self._cloids)
        self.exchange.settle()
        if filled != abs(missing):
            raise CheckError(f"self-test: the position could not be brought to {x:+.2f} limits")

    def relink(self) -> None:
        """Cut the connection: the program reads account and fee anew when it is back."""
        self.dialer.cut()

    def shown(self) -> Shown:
        """What rests now, by the payloads that asked for it."""
        rows = self.stage.venue.open_orders(self.user, self.instrument.dex)
        sides: dict[Side, list[Resting]] = {side: [] for side in Side}
        for row in rows:
            found = self.wire.orders.get(str(row.get("cloid")))
            if found is None:
                raise CheckError(f"self-test: an order rests that no payload asked for: {row}")
            sides[found[0]].append(found[1])
        for side, orders in sides.items():
            orders.sort(key=lambda order, s=side: -s * order.px_ticks)  # type: ignore[misc]
        return Shown(tuple(sides[Side.BUY]), tuple(sides[Side.SELL]), self.fair_ticks)

    @property
    def fair_ticks(self) -> float:
        """Size-weighted mid of the stage's touch within its bound, from the figures shown."""
        stage = self.stage
        half = stage.half_steps * stage.step_ticks
        bound = stage.mid_ticks * self.config.book.micro_bps_max * 1e-4
        return stage.mid_ticks + max(-bound, min(bound, stage.lean * half))


def _nothing() -> None:
    """No observer."""


def _with_room(config: Config) -> Config:
    """
    The configuration with limits that no test here reaches, at any hour; nothing else differs.

    The stage moves mark and oracle as a row needs them, whatever a venue would do.
    """
    room = {
        "loss_limit_frac": _ROOM,
        "loss_limit_usd": None,
        "day_loss_limit_frac": None,
        "day_loss_limit_usd": None,
        "drawdown_limit_frac": _ROOM,
        "soft_limit_frac": _SOFT_ROOM,
    }
    patient = {"stuck_s": _PATIENT_S, "margin_frac": 1.0}
    return config.model_copy(
        update={
            "risk": config.risk.model_copy(update=room),
            "kill": config.kill.model_copy(update=patient),
            "premises": config.premises.model_copy(update={"oracle_gap_bps": _GAP_BPS}),
            "hours": HoursParams(),
        }
    )


def _step_ms(config: Config) -> int:
    """How often the book must change for its prices, and those of a reference, to count as new."""
    limit_s = config.risk.stale_pull_s * 0.5
    if config.reference.coin:
        limit_s = min(limit_s, config.quoter.reference_stale_s * FRESH)
    for looks in (1, 2, 4, 5, 10):
        if 1 / looks <= limit_s:
            return 1000 // looks
    return max(_BLOCK_MS, _BLOCK_MS * ceil(limit_s * 1000 / 2 / _BLOCK_MS))
