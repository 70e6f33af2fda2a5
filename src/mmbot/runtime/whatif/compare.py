"""The questions that can be put to a run: what with other parameters, what without a mechanism."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec

from mmbot.config import Config, overridden, parse
from mmbot.core.engine import EngineParams
from mmbot.core.quoter import TERMS
from mmbot.core.types import NS_PER_S
from mmbot.emulator.tape import RecordedVenueParams
from mmbot.errors import ConfigError
from mmbot.journal.reader import Journal
from mmbot.runtime.lab.variants import FIXES
from mmbot.runtime.reload import Change, changes
from mmbot.runtime.whatif import figures
from mmbot.runtime.whatif.figures import Figures
from mmbot.runtime.whatif.fold import read_market
from mmbot.runtime.whatif.market import Market
from mmbot.runtime.whatif.simulate import Simulation

_OF_RUN: Final = "the configuration of the run"
_FIXED: Final = frozenset[str]().union(*FIXES.values())
MECHANISMS: Final[Mapping[str, frozenset[str]]] = {
    **FIXES,
    **{term: frozenset({term}) for term in sorted(TERMS - _FIXED)},
}
"""What `--ablate` leaves out in turn: the four of the laboratory, then every other term."""

Progress = Callable[[str], None]


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """How the simulated orders travelled and queued."""

    order_latency_ms: float
    """From sending an order to its execution, and to our knowing of it."""
    latency_from: str
    queue_factor: float
    maker_bps: float


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """
    What every answer says of a run.

    `baseline` is the run simulated as it was; its difference from the real one is the error of the
    simulation, and an effect is worth as much as it exceeds that.
    """

    run: str
    market: str
    span_s: float
    model: Model
    warnings: tuple[str, ...]
    real: Figures
    baseline: Figures
    error: dict[str, float]
    """The baseline less the real run."""


class Counterfactual(Asked, frozen=True, kw_only=True):
    """A run with other parameters. `effect` is the changed run less the baseline."""

    change: tuple[Change, ...]
    changed: Figures
    effect: dict[str, float]


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A run without one mechanism. `effect` is that run less the baseline."""

    terms: tuple[str, ...]
    figures: Figures
    effect: dict[str, float]


class Ablation(Asked, frozen=True, kw_only=True):
    """A run without each of its mechanisms in turn."""

    mechanisms: dict[str, LeftOut]


class Questions:
    """
    A run that can be asked what would have been.

    Args:
        run_dir: Its folder.
        order_latency_ms: Instead of the median of the run's own verdicts.
        queue_factor: Instead of that of the run's configuration.
        on_progress: Told what is being done.

    Raises:
        JournalError: There is no journal, or no market in it.
        ConfigError: The configuration of the run is none of this version, or a figure is out of
            its bounds.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        order_latency_ms: float | None = None,
        queue_factor: float | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        self._say = on_progress or (lambda _: None)
        self._say(f"{run_dir.name}: reading the journal")
        self._run = run_dir.name
        self.market: Market = read_market(Journal.of(run_dir))
        self._config = parse(copy.deepcopy(self.market.started.config), _OF_RUN)
        self.model = self._model(order_latency_ms, queue_factor)
        self._venue = RecordedVenueParams(
            order_latency_ms=self.model.order_latency_ms,
            # The whole way lies before the execution: nobody knows where it was, and the market
            # moves on meanwhile.
            reply_latency_ms=0.0,
            queue_factor=self.model.queue_factor,
        )

    def _model(self, order_latency_ms: float | None, queue_factor: float | None) -> Model:
        usual = self._config.backtest
        answers = self.market.real.answers_ms
        if order_latency_ms is not None:
            latency, source = order_latency_ms, "--order-latency-ms"
        elif answers:
            latency, source = median(answers), f"median of {len(answers)} verdicts of the run"
        else:
            latency, source = usual.order_latency_ms, "the run has no verdict: as in a backtest"
        return Model(
            order_latency_ms=round(latency, 3),
            latency_from=source,
            queue_factor=usual.queue_factor if queue_factor is None else queue_factor,
            maker_bps=self.market.first.fees.maker_bps,
        )

    def change(self, overrides: Sequence[str]) -> Counterfactual:
        """
        The run with other parameters.

        Args:
            overrides: `section.key=value` texts, factors such as `2x` among them.

        Raises:
            ConfigError: A key or a value that cannot be, or one that no decision depends on.
        """
        items = tuple(overrides)
        before, after = self._with((), self.market.params), self._with(items, self.market.params)
        if after.engine == before.engine:
            raise ConfigError(_no_change(items, is_same=after == before))

        def retune(params: EngineParams) -> EngineParams:
            return self._with(items, params).engine

        asked = self._asked()
        changed = self._play("changed", retune=retune)
        return Counterfactual(
            **asked,
            change=tuple(changes(before, after)),
            changed=changed,
            effect=figures.difference(changed, asked["baseline"]),
        )

    def ablate(self) -> Ablation:
        """The run without each of its mechanisms in turn."""
        asked = self._asked()
        found: dict[str, LeftOut] = {}
        for name, terms in MECHANISMS.items():
            without = self._play(f"without {name}", ablate=terms)
            found[name] = LeftOut(
                terms=tuple(sorted(terms)),
                figures=without,
                effect=figures.difference(without, asked["baseline"]),
            )
        return Ablation(**asked, mechanisms=found)

    def _asked(self) -> dict[str, Any]:
        """The fields of `Asked`."""
        market = self.market
        real, baseline = figures.real(market), self._play("unchanged")
        return {
            "run": self._run,
            "market": market.started.instrument.coin,
            "span_s": (market.end_ns - market.start_ns) / NS_PER_S,
            "model": self.model,
            "warnings": market.warnings,
            "real": real,
            "baseline": baseline,
            "error": figures.difference(baseline, real),
        }

    def _play(
        self,
        what: str,
        *,
        retune: Callable[[EngineParams], EngineParams] | None = None,
        ablate: frozenset[str] = frozenset(),
    ) -> Figures:
        run = Simulation(self.market, retune=retune, ablate=ablate, params=self._venue)
        run.play(lambda frac: self._say(f"{self._run}, {what}: {frac:.0%}"))
        return figures.simulated(self.market, run)

    def _with(self, items: tuple[str, ...], params: EngineParams) -> Config:
        """The configuration of the run with these parameters in force, and overrides."""
        tree = copy.deepcopy(self.market.started.config)
        tree.update(params.model_dump(mode="json"))
        return overridden(tree, items, _OF_RUN, has_factors=True)


def _no_change(items: Sequence[str], *, is_same: bool) -> str:
    told = " ".join(f"--set {item}" for item in items)
    if is_same:
        return f"{told}: is what the run had; give another value"
    sections = ", ".join(EngineParams.model_fields)
    return (
        f"{told}: no decision depends on it, and the market is the recorded one; change a key of "
        f"{sections} (for latency and queue: --order-latency-ms, --queue-factor)"
    )
