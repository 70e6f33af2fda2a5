"""Claims about the engine that a backtest compares with."""

from __future__ import annotations

from mmbot.core.engine import Decision, Engine, EngineParams
from mmbot.core.risk import RiskParams
from mmbot.emulator.instruments import listed_instrument
from mmbot.emulator.tape import RecordedVenueParams
from mmbot.runtime.exactdiff import UNLIMITED_REQUESTS, ExactEngine
from mmbot.runtime.playback import EngineAdapter, Playback
from runtime.recorded_market import market, recording

COIN, FEES = listed_instrument("WLFI")
PARAMS = EngineParams(risk=RiskParams(capital_usd=100))


class Watched(EngineAdapter):
    """Keeps every decision."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.made: list[Decision] = []
        self._decide = engine.decide
        self.apply_count = 0
        self.decide = self._watch

    def _watch(self, now_ns: int) -> Decision:
        decision = self._decide(now_ns)
        self.made.append(decision)
        return decision


def played(engine: Engine) -> list[Decision]:
    """Decisions over a minute of the synthetic market."""
    watched = Watched(engine)
    Playback(
        watched,
        recording(market(60)),
        instrument=COIN,
        fees=FEES,
        params=RecordedVenueParams(),
        capital_usd=100.0,
        requests_cap=UNLIMITED_REQUESTS,
    ).play()
    return watched.made


def test_wanted_touch_is_the_quote_to_the_price_step() -> None:
    """Nothing but the venue's own rounding stands between the quote and the order."""
    seen = 0
    for decision in played(ExactEngine(PARAMS, COIN, cloid_prefix=1)):
        shown = decision.diagnostics
        if shown is None:
            continue
        step_bps = COIN.step_ticks(int(COIN.ticks(shown.fair_px))) / COIN.ticks(shown.fair_px) * 1e4
        for falls in (shown.bids, shown.asks):
            if falls:
                assert falls[0].grid_bps > -1e-6
                assert falls[0].grid_bps < step_bps + 1e-6
                seen += 1
    assert seen > 50


def test_ordinary_engine_strays_further_on_its_grid() -> None:
    """The claim above would hold for nothing if the grid had no effect."""
    steps = [
        abs(decision.diagnostics.bids[0].grid_bps)
        for decision in played(Engine(PARAMS, COIN, cloid_prefix=1))
        if decision.diagnostics is not None and decision.diagnostics.bids
    ]

    assert max(steps) > 1.0


def test_it_follows_every_step_where_the_ordinary_engine_waits() -> None:
    """Both may send without limit here, so the difference is the grid's and the hysteresis's."""

    def sent(made: list[Decision]) -> int:
        return sum(len(decision.batch) for decision in made if decision.batch is not None)

    restless = sent(played(ExactEngine(PARAMS, COIN, cloid_prefix=1)))
    quiet = sent(played(Engine(PARAMS, COIN, cloid_prefix=1)))
    assert restless > 2 * quiet


def test_it_sends_only_what_the_gate_lets_out() -> None:
    """It is the same engine behind the same gate: no rung inside the floor, none that crosses."""
    for decision in played(ExactEngine(PARAMS, COIN, cloid_prefix=1)):
        assert not any(
            note.event == "order.dropped" and note.facts["reason"] == "nearer than the floor"
            for note in decision.notes
        )
