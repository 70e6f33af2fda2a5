"""The whole configuration: every section, and what one of them demands of another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mmbot.config.paths import UsablePath
from mmbot.config.sections import (
    AccountParams,
    EmulatorParams,
    InstrumentParams,
    LabParams,
    LiveParams,
    LogParams,
    ReferenceParams,
    ReportParams,
    StartParams,
    WatchdogParams,
)
from mmbot.config.telemetry import AlertParams, MetricsParams
from mmbot.config.words import RefusedError, explain, refuse
from mmbot.core.book import BookParams
from mmbot.core.engine import EngineParams
from mmbot.core.estimators.adverse import AdverseParams
from mmbot.core.estimators.cascade import CascadeParams
from mmbot.core.estimators.drift import DriftParams
from mmbot.core.estimators.flow import FlowParams
from mmbot.core.estimators.intensity import IntensityParams
from mmbot.core.estimators.trend import TrendParams
from mmbot.core.estimators.volatility import VolatilityParams
from mmbot.core.flatten import FlattenParams
from mmbot.core.guards import GuardParams
from mmbot.core.hours import HoursParams
from mmbot.core.ladder import LadderParams, side_usd_min
from mmbot.core.orders import READ_LAG_NS
from mmbot.core.premises import PremisesParams
from mmbot.core.quoter import QuoterParams
from mmbot.core.reconcile import ReconcileParams
from mmbot.core.risk import KillParams, RiskParams
from mmbot.core.stance import StanceParams
from mmbot.core.types import NS_PER_S
from mmbot.emulator.market import MarketParams
from mmbot.emulator.papering import PaperParams
from mmbot.emulator.scenarios import SCENARIOS
from mmbot.emulator.tape import BacktestParams
from mmbot.hyperliquid.gateway import GatewayParams
from mmbot.hyperliquid.link import LinkParams
from mmbot.journal.writer import JournalParams

Mode = Literal["emulator", "paper", "testnet", "live"]

PAPER_ADDRESS: Final = "0x" + b"paper".hex().ljust(40, "0")
"""The account of every paper run. It is nobody's, and no venue is ever asked about it."""


class Config(BaseModel):
    """The whole configuration of a run."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_extra={"reloadable": ["on_exit"]}
    )

    mode: Mode = Field(
        "emulator",
        description="emulator: no key, no network; paper: a real market, orders answered in this "
        "process alone, no key; testnet: test money; live: real money.",
    )
    on_exit: Literal["hold", "flatten"] = Field(
        "hold",
        description="What becomes of the position at the end of a run: kept, or closed as a taker "
        "as [flatten] says.",
    )
    state_dir: UsablePath = Field(
        Path("~/.local/state/mmbot"), description="Folder of the safety state (kill latch)."
    )
    start: StartParams = StartParams()
    instrument: InstrumentParams
    account: AccountParams = AccountParams()
    risk: RiskParams
    reference: ReferenceParams = ReferenceParams()
    quoter: QuoterParams = QuoterParams()
    ladder: LadderParams = LadderParams()
    reconcile: ReconcileParams = ReconcileParams()
    volatility: VolatilityParams = VolatilityParams()
    drift: DriftParams = DriftParams()
    trend: TrendParams = TrendParams()
    stance: StanceParams = StanceParams()
    cascade: CascadeParams = CascadeParams()
    intensity: IntensityParams = IntensityParams()
    adverse: AdverseParams = AdverseParams()
    flow: FlowParams = FlowParams()
    guards: GuardParams = GuardParams()
    kill: KillParams = KillParams()
    book: BookParams = BookParams()
    premises: PremisesParams = PremisesParams()
    hours: HoursParams = HoursParams()
    watchdog: WatchdogParams = WatchdogParams()
    link: LinkParams = LinkParams()
    gateway: GatewayParams = GatewayParams()
    flatten: FlattenParams = FlattenParams()
    live: LiveParams = LiveParams()
    emulator: EmulatorParams = EmulatorParams()
    paper: PaperParams = PaperParams()
    market: dict[str, Any] = Field(
        default_factory=dict, description="Figures of the synthetic market that differ."
    )
    backtest: BacktestParams = BacktestParams()
    lab: LabParams = LabParams()
    log: LogParams = LogParams()
    journal: JournalParams = JournalParams()
    report: ReportParams = ReportParams()
    metrics: MetricsParams = MetricsParams()
    alerts: AlertParams = AlertParams()

    @property
    def is_embedded(self) -> bool:
        """Whether the exchange begins and ends with the run."""
        return self.mode == "emulator" and not self.emulator.url.strip("/")

    @property
    def is_paper(self) -> bool:
        """Whether orders are answered on paper."""
        return self.mode == "paper"

    @property
    def is_passing(self) -> bool:
        """Whether the account begins with the run and ends with it, orders and position as well."""
        return self.is_embedded or self.is_paper

    @property
    def account_address(self) -> str:
        """Address of the account traded; empty where the key says it."""
        return PAPER_ADDRESS if self.is_paper else self.account.address

    @property
    def engine(self) -> EngineParams:
        """The parameters the core reads."""
        return EngineParams(
            risk=self.risk,
            quoter=self.quoter,
            ladder=self.ladder,
            reconcile=self.reconcile,
            volatility=self.volatility,
            drift=self.drift,
            trend=self.trend,
            stance=self.stance,
            cascade=self.cascade,
            intensity=self.intensity,
            adverse=self.adverse,
            flow=self.flow,
            guards=self.guards,
            book=self.book,
            kill=self.kill,
            premises=self.premises,
            hours=self.hours,
        )

    @property
    def market_params(self) -> MarketParams:
        """The scenario's market with the overrides of [market] applied."""
        base = SCENARIOS[self.emulator.scenario].params
        return MarketParams.model_validate({**base.model_dump(), **self.market})

    @model_validator(mode="after")
    def _numbers_are_finite(self) -> Self:
        for key, value in numbers(self.model_dump()):
            if not math.isfinite(value):
                refuse(key, value, "is not a finite number", "write one")
        return self

    @model_validator(mode="after")
    def _limits_agree(self) -> Self:
        risk = self.risk
        geared_usd = risk.capital_usd * risk.leverage
        limit_usd = risk.position_limit_usd(risk.capital_usd)
        if limit_usd > geared_usd:
            refuse(
                "risk.max_position_usd",
                limit_usd,
                f"contradicts risk.capital_usd x risk.leverage = {geared_usd:g}",
                "lower it or raise risk.leverage",
            )
        side_usd = risk.side_budget_frac * limit_usd
        least_usd = side_usd_min(self.ladder)
        if side_usd < least_usd:
            refuse(
                "risk.side_budget_frac",
                risk.side_budget_frac,
                f"leaves {side_usd:g} USD a side, below the minimum order with its head-room, "
                f"{least_usd:.2f} USD (ladder.order_usd_min = {self.ladder.order_usd_min:g})",
                "raise it or risk.max_position_usd",
            )
        if self.kill.clock_s * NS_PER_S > READ_LAG_NS:
            refuse(
                "kill.clock_s",
                self.kill.clock_s,
                "lets an order outlive its expiry by as much, and one is held to be gone "
                f"{READ_LAG_NS / NS_PER_S:g} s after it",
                f"write {READ_LAG_NS / NS_PER_S:g} or less",
            )
        if self.kill.clock_s >= self.gateway.expires_after_s:
            refuse(
                "kill.clock_s",
                self.kill.clock_s,
                "is not below the life of an order, gateway.expires_after_s = "
                f"{self.gateway.expires_after_s:g}: so far behind, every one is dead on arrival",
                "lower it, or raise gateway.expires_after_s",
            )
        if self.guards.taker_exit and self.guards.stuck_exit_s >= self.kill.stuck_s:
            refuse(
                "guards.stuck_exit_s",
                self.guards.stuck_exit_s,
                f"comes after the kill switch, kill.stuck_s = {self.kill.stuck_s:g}",
                "lower it, or guards.taker_exit = false",
            )
        return self

    @model_validator(mode="after")
    def _quotes_can_rest(self) -> Self:
        half_bps, depth_bps = self.quoter.half_spread_bps_min, self.ladder.depth_bps_max
        if half_bps >= depth_bps:
            refuse(
                "ladder.depth_bps_max",
                depth_bps,
                f"is not beyond quoter.half_spread_bps_min = {half_bps:g}, so nothing would ever "
                "be quoted",
                "raise it or lower quoter.half_spread_bps_min",
            )
        return self

    @model_validator(mode="after")
    def _reference_is_another(self) -> Self:
        # The venue's names differ by upper and lower case, so that is how they are compared.
        if self.reference.coin == self.instrument.wire_coin:
            refuse(
                "reference.coin",
                self.reference.coin,
                "is the perp that is traded, which cannot lead itself",
                "name another market, or leave it empty for none",
            )
        return self

    @model_validator(mode="after")
    def _paper_has_one_market(self) -> Self:
        if self.is_paper and self.emulator.url.strip("/"):
            refuse(
                "emulator.url",
                self.emulator.url,
                'is not read with mode = "paper"',
                "name the exchange in paper.source, or leave emulator.url out",
            )
        return self

    @model_validator(mode="after")
    def _market_is_known(self) -> Self:
        if self.emulator.scenario not in SCENARIOS:
            known = ", ".join(sorted(SCENARIOS))
            refuse(
                "emulator.scenario",
                self.emulator.scenario,
                "is not a scenario",
                f"use one of: {known}",
            )
        try:
            _ = self.market_params
        except ValidationError as error:
            raise RefusedError(explain(MarketParams, error.errors()[0], "market")) from None
        return self


def numbers(tree: object, key: str = "") -> Iterator[tuple[str, float]]:
    """Every float of nested tables and lists, with its dotted key."""
    if isinstance(tree, float):
        yield key, tree
    elif isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from numbers(value, f"{key}.{name}" if key else str(name))
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from numbers(value, key)
