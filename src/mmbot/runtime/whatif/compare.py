"""The questions that can be put to a run: what with other parameters, what without a mechanism."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import msgspec

from mmbot.config import Config, overridden, parse
from mmbot.core.engine import EngineParams
from mmbot.core.quoter import TERMS
from mmbot.core.types import NS_PER_S
from mmbot.emulator.tape import RecordedVenueParams
from mmbot.errors import ConfigError
from mmbot.journal.reader import Journal
from mmbot.journal.records import JournalError
from mmbot.runtime.belonging import refuse_older
from mmbot.runtime.lab.variants import FIXES
from mmbot.runtime.reload import Change, changes
from mmbot.runtime.whatif import figures
from mmbot.runtime.whatif.figures import Figures
from mmbot.runtime.whatif.fold import read_market
from mmbot.runtime.whatif.market import Market, Reload
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
    queue_from: str
    maker_bps: float


class Altered(Change, frozen=True):
    """One key that is changed, while the run had one value of it; several reloads, several rows."""

    from_s: float = 0.0
    to_s: float | None = None
    """Since the first reading of the account; None up to the end."""


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

    change: tuple[Altered, ...]
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
        queue_factor: Instead of that of the run's configuration: of `paper` where it was on paper,
            of `backtest` else.
        on_progress: Told what is being done.

    Raises:
        JournalError: There is no journal of the newest run there, or no market in it.
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
        refuse_older(run_dir)
        self.market: Market = read_market(Journal.of(run_dir))
        self._config = parse(copy.deepcopy(self.market.started.config), _OF_RUN)
        self._periods = self._had()
        self.model = self._model(order_latency_ms, queue_factor)
        self._venue = RecordedVenueParams(
            order_latency_ms=self.model.order_latency_ms,
            # The whole way lies before the execution: nobody knows where it was, and the market
            # moves on meanwhile.
            reply_latency_ms=0.0,
            queue_factor=self.model.queue_factor,
        )

    def _model(self, order_latency_ms: float | None, queue_factor: float | None) -> Model:
        queue, queue_from = queue_of(self._config)
        if queue_factor is not None:
            queue, queue_from = queue_factor, "--queue-factor"
        answers = self.market.real.answers_ms
        if order_latency_ms is not None:
            latency, source = order_latency_ms, "--order-latency-ms"
        elif answers:
            latency, source = median(answers), f"median of {len(answers)} verdicts of the run"
        else:
            usual = self._config.backtest
            latency, source = usual.order_latency_ms, "the run has no verdict: as in a backtest"
        return Model(
            order_latency_ms=round(latency, 3),
            latency_from=source,
            queue_factor=queue,
            queue_from=queue_from,
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
        given = [self._with(items, period) for period in self._periods]
        # Beside a key that matters, another one would pass for a part of what was asked.
        idle = [item for item in items if _section(item) not in EngineParams.model_fields]
        if idle:
            raise ConfigError(_no_effect(idle))
        if all(
            after.engine == period.config.engine
            for after, period in zip(given, self._periods, strict=True)
        ):
            raise ConfigError(f"{_told(items)}: is what the run had; give another value")

        def retune(params: EngineParams) -> EngineParams:
            had = [period.params for period in self._periods]
            return given[had.index(params)].engine

        asked = self._asked()
        changed = self._play("changed", retune=retune)
        return Counterfactual(
            **asked,
            change=tuple(self._altered(given)),
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

    def _altered(self, given: Sequence[Config]) -> list[Altered]:
        """What is changed of what the run had, and from when to when."""
        found: list[Altered] = []
        open_: dict[str, int] = {}
        for period, after in zip(self._periods, given, strict=True):
            now = {each.key: each for each in changes(period.config, after)}
            for key, at in list(open_.items()):
                each = now.get(key)
                if each is None or (each.old, each.new) != (found[at].old, found[at].new):
                    found[at] = msgspec.structs.replace(found[at], to_s=period.from_s)
                    del open_[key]
            for key, each in now.items():
                if key not in open_:
                    open_[key] = len(found)
                    is_reloadable = each.is_reloadable
                    found.append(Altered(key, each.old, each.new, is_reloadable, period.from_s))
        return found

    def _asked(self) -> dict[str, Any]:
        """The fields of `Asked`."""
        market = self.market
        real, baseline = figures.real(market), self.baseline
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

    @cached_property
    def baseline(self) -> Figures:
        """The run simulated as it was."""
        return self._play("unchanged")

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

    def _had(self) -> list[_Period]:
        """The configurations of the run: that of the start, then of each reload."""
        market = self.market
        found = [_Period(0.0, _OF_RUN, market.params, self._plain(market.params))]
        for item in market.inputs:
            if isinstance(item, Reload):
                from_s = round((item.recv_ns - market.start_ns) / NS_PER_S, 3)
                source = f"{_OF_RUN} from its reload at {from_s:.0f} s on"
                try:
                    params = EngineParams.model_validate(item.params)
                except ValueError as error:  # pydantic's is one
                    raise JournalError(
                        f"{source} is none of this version: {error}; use the version that wrote it"
                    ) from None
                found.append(_Period(from_s, source, params, self._plain(params)))
        return found

    def _plain(self, params: EngineParams) -> Config:
        """The configuration of the run with these parameters in force."""
        return parse(self._tree(params), _OF_RUN)

    def _tree(self, params: EngineParams) -> dict[str, Any]:
        tree = copy.deepcopy(self.market.started.config)
        tree.update(params.model_dump(mode="json"))
        return tree

    def _with(self, items: tuple[str, ...], period: _Period) -> Config:
        """The configuration that the run had then, and overrides."""
        tree = self._tree(period.params)
        return overridden(tree, items, period.source, has_factors=True)


class _Period(NamedTuple):
    """A part of the run under one configuration."""

    from_s: float
    source: str
    params: EngineParams
    config: Config


def queue_of(config: Config) -> tuple[float, str]:
    """How much longer the queue is that a run counts with, and the key that says so."""
    section = "paper" if config.is_paper else "backtest"
    return getattr(config, section).queue_factor, f"{section}.queue_factor"


def _section(item: str) -> str:
    return item.partition("=")[0].partition(".")[0].strip()


def _told(items: Sequence[str]) -> str:
    return " ".join(f"--set {item}" for item in items)


def _no_effect(items: Sequence[str]) -> str:
    sections = ", ".join(EngineParams.model_fields)
    return (
        f"{_told(items)}: no decision depends on it, and the market is the recorded one; change a "
        f"key of {sections} (for latency and queue: --order-latency-ms, --queue-factor)"
    )
