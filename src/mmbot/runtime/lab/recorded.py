"""
Variants over a recording: the comparison of the laboratory where the market is one that was.

A recording is a single session, so that no figure of it has an error: the number of fills says how
much it can carry. Nobody knows its true law; all variants quote at the width that is configured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from mmbot.core.engine import Decision, Engine, EngineParams
from mmbot.core.risk import RiskParams
from mmbot.core.types import NS_PER_S, Fees, Instrument
from mmbot.emulator.recordings import Recording, read_recording
from mmbot.emulator.tape import BacktestParams
from mmbot.runtime.backtest import resolve
from mmbot.runtime.lab.measure import REFERENCE, LabReport, Outcome, summarise
from mmbot.runtime.lab.predecessor import PredecessorEngine
from mmbot.runtime.lab.runner import solve_width
from mmbot.runtime.lab.variants import CONTROL, Variant, build, control, endless
from mmbot.runtime.playback import EngineAdapter, Playback, Timed

_CLOID_PREFIX: Final = 0x6D6D_0000_BAC2_0001
_CALM_X: Final = 0.2
_FIRST_K_PER_BP: Final = 0.4

Told = Callable[[str], None]


class RecordedSession(Playback):
    """
    One engine over one recording, watched as a session of the laboratory is.

    Args:
        engine: Decides.
        recording: Frames of one coin.
        instrument: The coin as the venue lists it.
        fees: Charged to our fills and told to the engine.
        params: Latency and queue.
        limits: Equity at the start, and the losses that are counted as trips of the switch.
    """

    def __init__(
        self,
        engine: Engine,
        recording: Recording,
        *,
        instrument: Instrument,
        fees: Fees,
        params: BacktestParams,
        limits: RiskParams,
    ) -> None:
        super().__init__(
            EngineAdapter(engine),
            recording,
            instrument=instrument,
            fees=fees,
            params=params,
            capital_usd=limits.capital_usd,
        )
        self._watched = engine
        self._limits = limits
        self._low_usd = limits.capital_usd
        self._x = self._max_x = 0.0
        self._before_ns = recording.start_ns
        self._bid_ns = self._ask_ns = self._opposed_ns = 0
        self._calm_ns = self._calm_quoted_ns = 0

    def _step(self, read: Sequence[Timed], now_ns: int, wake_ns: int | None) -> Decision | None:
        self._count_time(now_ns)
        decision = super()._step(read, now_ns, wake_ns)
        if now_ns <= self.ended_ns:
            self._look()
        return decision

    def _count_time(self, now_ns: int) -> None:
        """Book the time since the last step by what was then."""
        now_ns = min(now_ns, self.ended_ns)
        span_ns = max(0, now_ns - self._before_ns)
        self._before_ns = max(self._before_ns, now_ns)
        is_bid, is_ask = self.venue.is_quoted
        self._bid_ns += span_ns * is_bid
        self._ask_ns += span_ns * is_ask
        self._opposed_ns += span_ns * self._watched.is_opposed
        if abs(self._x) < _CALM_X:
            self._calm_ns += span_ns
            self._calm_quoted_ns += span_ns * (is_bid and is_ask)

    def _look(self) -> None:
        engine = self._watched
        self._low_usd = min(self._low_usd, engine.risk.equity_usd)
        limits, mid = engine.limits, engine.book.last_mid_ticks
        if limits is None or mid is None:
            return
        self._x = self.venue.position_lots / limits.q_max_lots(mid)
        self._max_x = max(self._max_x, abs(self._x))

    def _kill_trips(self) -> int:
        risk, limits = self._watched.risk, self._limits
        loss_frac = (risk.start_usd - self._low_usd) / risk.start_usd
        return (loss_frac >= limits.loss_limit_frac - 1e-12) + (
            risk.max_drawdown_frac >= limits.drawdown_limit_frac - 1e-12
        )

    def outcome(self) -> Outcome:
        """What the session was; call it once the recording has been played."""
        engine = self._watched
        summary = engine.summary()
        span_ns = max(1, self.ended_ns - self.recording.start_ns)
        return Outcome(
            seed=0,
            pnl_usd=summary.pnl_usd,
            final_lots=self.venue.position_lots,
            final_q_frac=abs(self._x),
            max_q_frac=self._max_x,
            fills=summary.fills,
            opposed_frac=self._opposed_ns / span_ns,
            markout_1s_bps=summary.markout_1s_bps,
            markout_5s_bps=summary.markout_5s_bps,
            markout_30s_bps=summary.markout_30s_bps,
            max_drawdown_pct=summary.max_drawdown_pct,
            quoted_frac_bid=self._bid_ns / span_ns,
            quoted_frac_ask=self._ask_ns / span_ns,
            calm_two_sided_frac=self._calm_quoted_ns / self._calm_ns if self._calm_ns else None,
            requests=sum(self.sent.values()),
            refused=sum(self.refused.values()),
            kill_trips=self._kill_trips(),
            length_s=span_ns / NS_PER_S,
        )


def compare(
    recording: Path,
    coin: str,
    shipped: EngineParams,
    names: Sequence[str],
    *,
    params: BacktestParams | None = None,
    is_kill_on: bool = False,
    on_progress: Told | None = None,
) -> LabReport:
    """
    Play a recording with each variant.

    The control's width is that of the fills of `all` on this very recording.

    Args:
        recording: Folder of the recording.
        coin: Which of its coins.
        shipped: The configuration's parameters; also the world's, since nobody knows its law.
        names: The variants, `base` among them.
        params: As of a backtest.
        is_kill_on: Whether loss and drawdown limits end a session.
        on_progress: Told which variant is being run.

    Raises:
        ConfigError: The recording or the instrument cannot be used.
    """
    params = params or BacktestParams()
    instrument, fees = resolve(coin, params, None, None)
    read = read_recording(recording, instrument)

    def play(variant: Variant) -> Outcome:
        if on_progress is not None:
            on_progress(f"{recording.name} {coin}: {variant.name}")
        chosen = variant.engine if is_kill_on else endless(variant.engine)
        session = RecordedSession(
            _engine(variant, chosen, instrument),
            read,
            instrument=instrument,
            fees=fees,
            params=params,
            limits=shipped.risk,
        )
        session.play()
        return session.outcome()

    width: float | None = None
    found: dict[str, Outcome] = {}
    for name in names:
        if name == CONTROL:
            every = build("all", shipped, shipped)
            width = solve_width(
                lambda variant: float(play(variant).fills),
                every,
                shipped,
                fees.maker_bps,
                _FIRST_K_PER_BP,
            )
            found[name] = play(control(shipped, width, fees.maker_bps))
        else:
            found[name] = play(build(name, shipped, shipped))
    reports = {
        name: summarise(
            name,
            [outcome],
            [found[REFERENCE]],
            half_spread_bps=width if name == CONTROL else None,
        )
        for name, outcome in found.items()
    }
    minutes = (read.end_ns - read.start_ns) / NS_PER_S / 60
    return LabReport(f"{recording.name} {coin}", 1, 0, minutes, reports)


def _engine(variant: Variant, params: EngineParams, instrument: Instrument) -> Engine:
    """The engine of a variant, whose own orders are not in the recorded book."""
    if variant.recorded is None:
        return Engine(
            params,
            instrument,
            cloid_prefix=_CLOID_PREFIX,
            own_in_book=False,
            ablate=variant.ablate,
        )
    return PredecessorEngine(
        params,
        instrument,
        cloid_prefix=_CLOID_PREFIX,
        recorded=variant.recorded,
        own_in_book=False,
        ablate=variant.ablate,
    )
