"""
One row being played: the program on its stage, the formulas beside it, and what both say.

Orders rest on a grid that is coarser than most terms. So a quote is measured at several fair
prices that tile the distance of two lines: the mean depth over them is the wanted depth and half a
line, whatever the place of the grid. A ladder that keeps to no grid rests where it should.
"""

from __future__ import annotations

from math import ceil, sqrt
from typing import Final

from mmbot.config import Config
from mmbot.core.types import NS_PER_S, Instrument, Side
from mmbot.errors import CheckError
from mmbot.runtime.selftest.bench import Bench, Resting, Shown, Tamper
from mmbot.runtime.selftest.expected import Model
from mmbot.runtime.selftest.facts import Facts, Pull, Sweep, Wanted
from mmbot.runtime.selftest.learning import Lead, Learning
from mmbot.runtime.selftest.seen import Sample, Seen, lines_of, untiled_bps

PERTURB_S: Final = 33.0
"""When a row changes something: what was frozen in the first half minute shows from then on."""
_POINTS: Final = 4
_WAIT_S_MAX: Final = 8
_ERROR_BPS: Final = 0.2
"""What rounding, fair price and the moment of a sample leave open."""
_GRID_ERROR: Final = 0.05
"""The same of the distance of two lines: orders follow a change of price late."""
_CHANGES: Final = 5
"""Times that each order may change on the way to one fair price and at it."""
_FOLLOWS_PER_S: Final = 3
"""The same in a second where no grid holds them: the price moves once in it, estimates go on."""
_DEPTH_USE: Final = 0.97
_NEAR_BPS: Final = 1.5
_STRIDE_BPS: Final = 0.6
"""Move of the mid in a second: less than the half spread of the touch."""
_BUDGET_ROOM: Final = 1.06
_BUDGET_USE: Final = 0.97
_INTEREST_PER_H: Final = 0.0001 / 8


class Skip(Exception):  # noqa: N818 - no error: the row says that it cannot be shown
    """A row cannot be shown with this configuration; the message says why."""


class Session:
    """One program on one stage with the model of what it must do."""

    def __init__(
        self,
        config: Config,
        *,
        instrument: Instrument | None = None,
        tamper: Tamper | None = None,
    ) -> None:
        self.bench = Bench(config, instrument=instrument, tamper=tamper)
        self.config = self.bench.config
        self.stage = self.bench.stage
        self.model = Model(self.config, self.bench.instrument)
        self._lead = Lead(config.quoter.reference_bps_max, config.quoter.reference_half_life_s)
        self._lead_bps: float | None = None
        self._start_ns = self.bench.now_ns
        self._learning = Learning(config.intensity, config.adverse, self._start_ns)
        self._jumps = 0
        """Jumps of the price whose end has been waited for."""
        self.bench.on_second = self._second

    @property
    def at_s(self) -> float:
        """Time since the start, s."""
        return (self.bench.now_ns - self._start_ns) / NS_PER_S

    @property
    def facts(self) -> Facts:
        """What the stage shows now."""
        stage = self.stage
        funding = stage.funding_per_h or _INTEREST_PER_H * stage.asset.spec.funding_multiplier
        return Facts(
            x=self.bench.x,
            fee_bps=stage.fee_bps,
            funding_bps_per_h=funding * 1e4,
            lead_bps=self._lead_bps,
            step_bps=stage.step_bps,
            fair_ticks=self.bench.fair_ticks,
            law=self._learning.law,
        )

    def _second(self) -> None:
        stage, now_ns = self.stage, self.bench.now_ns
        if stage.reference is not None:
            book = stage.reference.book
            if book.bid_ticks is not None and book.ask_ticks is not None:
                px = (book.bid_ticks + book.ask_ticks) / 2
                self._lead_bps = self._lead.lead_bps(now_ns, px, self.bench.fair_ticks)
        self._learning.second(now_ns)
        self.model.second(now_ns, stage.mid_ticks, self.facts)

    def start(self) -> None:
        """
        Start the program and wait for quotes on both sides.

        Raises:
            CheckError: They do not come.
            Skip: By the formulas one cannot.
        """
        try:
            self.bench.start()
        except CheckError:
            shown = self.bench.shown()
            for side, wanted in self.model.sides(self.facts):
                self._refuse_too_deep(wanted)
                self._refuse_pulled(side, wanted, shown)
            raise

    # -- what a row does --------------------------------------------------------------------------

    def wait_until(self, at_s: float) -> None:
        """Let time pass until then."""
        while self.at_s < at_s:
            self.bench.second()

    def steps(self, bps: float) -> int:
        """A distance in price steps, at least one."""
        return max(1, round(abs(bps) / self.stage.step_bps)) * (1 if bps > 0 else -1)

    def ramp(self, bps_per_s: float, span_s: int) -> None:
        """Let the price run."""
        done = 0
        for second in range(1, span_s + 1):
            wanted = round(bps_per_s * second / self.stage.step_bps)
            self.stage.mid_steps += wanted - done
            done = wanted
            self.bench.second()

    def shake(self, bps: float, span_s: int) -> None:
        """
        Two seconds up, two down: volatility whose moves do not follow from one another.

        They grow with it, so that none is cut as a jump: what is cut of one is missing where the
        next goes back, and would be a drift.
        """
        done = 0
        for second in range(span_s - span_s % 4):
            if second % 4 == 0:
                done = self.steps(min(bps, self.model.calm_bps))
            self.stage.mid_steps += done if second % 4 < 2 else -done
            self.bench.second()

    def relink(self) -> None:
        """Cut the connection and wait for quotes."""
        self.bench.relink()
        self.model.relinked()
        self.bench.seconds(2)
        for _ in range(20):
            shown = self.bench.shown()
            if shown.bids and shown.asks:
                break
            self.bench.second()
        # What the program saw of the price before it was back counts for neither.
        self.model.relinked()
        self.bench.seconds(2)

    def informed(self, trades: int, reach_bps: float, move_bps: float) -> None:
        """A trade a minute, each followed by the price; to and fro, so that it makes no trend."""
        learning = self._learning
        for number in range(trades):
            side = Side.BUY if number % 2 == 0 else Side.SELL
            self.stage.reach(side, reach_bps)
            self.bench.exchange.settle()
            learning.trade(self.bench.now_ns, move_bps, reach_bps)
            # No window of the trend is a whole number of these.
            self.ramp(side * move_bps / 10, 10)
            self.bench.seconds(53)

    def sweep(self, side: Side) -> Sweep | None:
        """
        Somebody takes our orders of a side in one message, and the book stands there again.

        None when by the published rule so few or so near orders are no sweep.
        """
        orders = self.bench.shown().side(side)
        lots = sum(order.sz_lots for order in orders)
        deepest = orders[-1].px_ticks
        before = self.stage.position_lots()
        self.stage.hit(side.opposite, deepest, 2 * self.stage.touch_lots + lots)
        self.bench.exchange.settle()
        found = self._burst(side, orders)
        if abs(self.stage.position_lots() - before) != lots:
            return None
        if found is not None:
            self.model.sweeps.append(found)
        return found

    def _burst(self, side: Side, orders: tuple[Resting, ...]) -> Sweep | None:
        """Depth of a burst that takes all of these, by the rule of four fills or of the share."""
        params, nearest, deepest = self.config.cascade, orders[0].px_ticks, orders[-1].px_ticks
        span = side * (nearest - deepest) / self.bench.fair_ticks * 1e4
        decays = span * self._learning.law.k_per_bp
        is_span = len(orders) >= params.fills_min and decays >= params.span_decays_min
        is_wide = len(orders) >= params.share_orders_min or decays >= params.share_span_decays_min
        if not is_span and not is_wide:
            return None
        depth = max(params.depth_bps_min, span)
        return Sweep(self.bench.now_ns, side, depth, deepest)

    # -- measuring --------------------------------------------------------------------------------

    def measure(
        self, sides: tuple[Side, ...], points: int = _POINTS, open_bps: float = 0.0
    ) -> dict[Side, Seen]:
        """Mean depth of each side over fair prices that tile the grid, beside the model's."""
        wait_s = self._wait_s
        late = self.config.reconcile.hold_bps if self.config.reconcile.hold_s >= wait_s else 0.0
        spacing = self.spacing_bps(self.bench.shown())
        home, sent, since_s = self.stage.mid_steps, self.bench.wire.elements, self.at_s
        found: dict[Side, list[Sample]] = {side: [] for side in sides}
        for place in self._order(points):
            tile = (place - (points - 1) / 2) / points
            self._walk(home + round(tile * spacing / self.stage.step_bps))
            self.bench.seconds(wait_s)
            self._let_jumps_pass()
            self._refuse_churn(self.bench.wire.elements - sent, points, self.at_s - since_s)
            if self.model.is_unsure:
                raise Skip("an estimate lies too near to a threshold to know which side it is on")
            shown = self.bench.shown()
            for side, wanted in self.model.sides(self.facts):
                if side in found:
                    self._refuse_too_deep(wanted)
                    self._refuse_pulled(side, wanted, shown)
                    spacing_bps = self.spacing_bps(shown)
                    found[side].append(
                        Sample(shown.depth_bps(side), wanted, spacing_bps, shown.fair_ticks)
                    )
        self._walk(home)
        fair = self.bench.fair_ticks
        late += open_bps
        return {side: self._seen(side, rows, late, fair) for side, rows in found.items()}

    def _let_jumps_pass(self) -> None:
        """A touch that an order of ours took part of may have jumped: that has an end."""
        while (jumps := len(self.bench.log.named("price.jumped"))) != self._jumps:
            self._jumps = jumps
            self.bench.seconds(ceil(self.config.guards.jump_off_s) + 1)

    def _refuse_churn(self, sent: int, points: int, span_s: float) -> None:
        """Orders that do not rest where the program wants them are moved without an end."""
        changes = points * _CHANGES if self._is_on_grid else span_s * _FOLLOWS_PER_S
        limit = round(changes * 2 * self.config.ladder.rungs)
        if sent > limit:
            raise CheckError(f"{sent} orders sent where the price hardly moved; {limit} are many")

    def _refuse_too_deep(self, wanted: Wanted) -> None:
        """By the ladder's own rule nothing rests so deep, so there is nothing to see."""
        if not wanted.is_reducing and wanted.depth_bps > _DEPTH_USE * self._depth_max:
            raise Skip(f"the quote would be deeper than ladder.depth_bps_max = {self._depth_max:g}")

    def _refuse_pulled(self, side: Side, wanted: Wanted, shown: Shown) -> None:
        """A side in danger of another sweep must be empty, and one that may be can be."""
        is_empty = not shown.side(side)
        if wanted.pull is Pull.YES and not is_empty:
            raise CheckError(f"a {side.name.lower()} order rests on a side in danger of a sweep")
        if wanted.pull is not Pull.NO and is_empty:
            raise Skip(
                "the side is empty: its danger is above cascade.danger_pull = "
                f"{self.config.cascade.danger_pull:g}"
            )

    @property
    def _is_on_grid(self) -> bool:
        return self.config.ladder.is_on_grid

    @property
    def _depth_max(self) -> float:
        return self.config.ladder.depth_bps_max

    def _walk(self, mid_steps: int) -> None:
        """Take the mid there so slowly that the touch does not come through an order of ours."""
        stage, stride = self.stage, self.steps(_STRIDE_BPS)
        while abs(mid_steps - stage.mid_steps) > stride:
            stage.mid_steps += stride if mid_steps > stage.mid_steps else -stride
            shown = self.bench.shown()
            depths = [shown.depth_bps(side) for side in Side]
            is_near = any(depth is not None and depth < _NEAR_BPS for depth in depths)
            self.bench.seconds(self._wait_s if is_near else 1)
        stage.mid_steps = mid_steps

    @property
    def _wait_s(self) -> int:
        """Time after which orders have followed the price."""
        return min(_WAIT_S_MAX, ceil(self.config.reconcile.hold_s) + 1)

    @staticmethod
    def _order(points: int) -> list[int]:
        """Places of the tiles, to and fro, so that they do not make a trend of their own."""
        return [*range(0, points, 2), *range(points - 1 - points % 2, 0, -2)]

    def _seen(self, side: Side, rows: list[Sample], late: float, fair: float) -> Seen:
        count = len(rows)
        expected = slack = 0.0
        for row in rows:
            middle, open_bps = self._grid(row.wanted, row.spacing_bps)
            expected += (row.wanted.laid_bps + middle) / count
            slack += (row.wanted.slack_bps + open_bps + late) / count
        depths = [row.depth_bps for row in rows if row.depth_bps is not None]
        observed = sum(depths) / count if len(depths) == count else None
        spacing = rows[-1].spacing_bps
        tiled = sum(row.spacing_bps for row in rows) / count / (2 * count) + _GRID_ERROR * spacing
        tolerance = slack + _ERROR_BPS + max(tiled, untiled_bps(side, rows))
        return Seen(observed, rows[-1].wanted, expected, tolerance, fair)

    def _grid(self, wanted: Wanted, spacing: float) -> tuple[float, float]:
        """What rounding to the grid adds on average, and by how much that is not known."""
        step = self.stage.step_bps
        if not self._is_on_grid:
            return step / 2, step / 2
        if wanted.terms["hold"] > 0:
            # The price stayed behind may lie on a line of the grid, or anywhere between two.
            return spacing / 2, spacing / 2
        if wanted.is_reducing and wanted.laid_bps < 0.95 * spacing:
            return step / 2, step / 2
        if wanted.is_reducing and wanted.laid_bps < 1.5 * spacing:
            return spacing / 4, spacing / 4
        return spacing / 2, 0.0

    def spacing_bps(self, shown: Shown) -> float:
        """Distance of grid lines, from the orders themselves where there are two."""
        ladder = self.config.ladder
        if not self._is_on_grid:
            # Nothing repeats from line to line; a price step is what rounding leaves.
            return self.stage.step_bps
        lines = lines_of(ladder.rungs, ladder.gap_growth)
        gaps = [
            abs(one.px_ticks - other.px_ticks) / (far - near)
            for side in Side
            for one, other, near, far in zip(
                shown.side(side)[1:], shown.side(side)[2:], lines[1:], lines[2:], strict=False
            )
        ]
        if gaps:
            return min(gaps) / shown.fair_ticks * 1e4
        wanted = max(ladder.spacing_bps, self.model.sigma * sqrt(ladder.spacing_vol_s))
        return max(2 * self.stage.step_bps, wanted)

    # -- what can be shown at this size -----------------------------------------------------------

    def growing_x_max(self) -> float:
        """Largest position at which the side that adds to it still has an order."""
        lot_usd = self.stage.start_ticks * 1e-6
        return growing_x_max(self.config, self.bench.instrument, lot_usd)


def growing_x_max(config: Config, instrument: Instrument, lot_usd: float) -> float:
    """Largest position, of the limit, whose increasing side still has room for one order."""
    risk = config.risk
    leverage = min(risk.leverage, instrument.max_leverage)
    limit = min(
        risk.position_limit_usd(risk.capital_usd),
        risk.capital_usd * leverage,
        5 * risk.capital_usd,
    )
    side_usd = risk.side_budget_frac * limit * _BUDGET_USE
    return 1.0 - (config.ladder.order_usd_min + lot_usd) * _BUDGET_ROOM / side_usd
