"""
Configuration: one TOML file, checked before anything else happens.

Every section is a frozen model that stands beside the code reading it; this module composes them,
applies `--set`, and turns what is wrong into a sentence a person can act on.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from mmbot.config.factors import is_factor, multiply
from mmbot.config.paths import KeyPath, UsablePath
from mmbot.config.telemetry import AlertParams, MetricsParams
from mmbot.config.toml import dump, override, read_text, read_toml
from mmbot.config.words import RefusedError, UnfitError, explain, refuse, show
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
from mmbot.errors import ConfigError
from mmbot.hyperliquid.gateway import GatewayParams
from mmbot.hyperliquid.link import LinkParams
from mmbot.journal.writer import JournalParams

__all__ = [
    "AccountParams",
    "AlertParams",
    "BacktestParams",
    "Config",
    "EmulatorParams",
    "FlattenParams",
    "InstrumentParams",
    "JournalParams",
    "LabParams",
    "LiveParams",
    "LogParams",
    "MetricsParams",
    "PaperParams",
    "ReferenceParams",
    "ReportParams",
    "StartParams",
    "WatchdogParams",
    "dump_toml",
    "load",
    "market_overrides",
    "overridden",
    "parse",
    "show",
]

Mode = Literal["emulator", "paper", "testnet", "live"]

PAPER_ADDRESS: Final = "0x" + b"paper".hex().ljust(40, "0")
"""The account of every paper run. It is nobody's, and no venue is ever asked about it."""

_FROZEN: Final = ConfigDict(frozen=True, extra="forbid")

_HOST_LABEL: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
"""RFC 1123, with the underscore that container networks use."""


class InstrumentParams(BaseModel):
    """Which perp is traded."""

    model_config = _FROZEN

    coin: str = Field(
        min_length=1,
        max_length=32,
        pattern=r"^[^\s:]+$",
        description="Name of the perp without the dex, in the venue's spelling (HYPE, BTC).",
    )
    dex: str = Field(
        "",
        pattern=r"^([a-z0-9]{2,6})?$",
        description="Builder dex that lists it, empty for the main one.",
    )

    @property
    def wire_coin(self) -> str:
        """Name on the wire: `dex:coin` on a builder dex."""
        return f"{self.dex}:{self.coin}" if self.dex else self.coin


class ReferenceParams(BaseModel):
    """Another market of the same coin whose price may move our quotes."""

    model_config = _FROZEN

    coin: str = Field(
        "",
        max_length=32,
        pattern=r"^\S*$",
        description="Name on the wire (HYPE for hyna:HYPE); empty: no reference.",
    )


class AccountParams(BaseModel):
    """Whose account is traded, and where the key is found (never the key itself)."""

    model_config = _FROZEN

    address: str = Field(
        "",
        pattern=r"^(0x[0-9a-fA-F]{40})?$",
        description="Account traded; empty: the address of the key itself.",
    )
    key_env: str = Field(
        "MMBOT_KEY",
        pattern=r"^[A-Z][A-Z0-9_]*$",
        description="Environment variable that holds the signing key (hex).",
    )
    key_file: KeyPath | None = Field(
        None,
        description="File of mode 0600 that holds the signing key, read if the variable is unset.",
    )


class WatchdogParams(BaseModel):
    """The second process, which cancels when the daemon falls silent (`mmbot watchdog`)."""

    model_config = _FROZEN

    key_env: str = Field(
        "MMBOT_WATCHDOG_KEY",
        pattern=r"^[A-Z][A-Z0-9_]*$",
        description="Environment variable that holds the watchdog's own signing key (hex).",
    )
    key_file: KeyPath | None = Field(
        None,
        description="File of mode 0600 that holds this key, read if the variable is unset.",
    )
    silent_s: float = Field(
        1.5,
        ge=0.5,
        le=30,
        description="Silence of the daemon after which everything of ours is cancelled, s; it "
        "beats four times a second.",
    )


class EmulatorParams(BaseModel):
    """The emulated exchange that `mode = "emulator"` trades on."""

    model_config = _FROZEN

    scenario: str = Field("demo", description="Named market; [market] overrides its figures.")
    url: str = Field(
        "",
        pattern=r"^(http://[^\s/]+(:\d+)?)?/?$",
        description="An emulated exchange that runs already; empty: one is started and stopped.",
    )
    seed: int = Field(1, ge=0, le=2**32 - 1, description="Seed of the synthetic market.")
    equity_usd: float | None = Field(
        None, gt=0, le=1e9, description="Deposit of the account; unset: risk.capital_usd."
    )
    latency_ms: int = Field(
        50, ge=0, le=10_000, description="Time from an action's arrival to its execution, ms."
    )
    reply_ms: int = Field(
        0, ge=0, le=10_000, description="Time from an execution to our knowing its verdict, ms."
    )
    feed_ms: int = Field(
        0, ge=0, le=10_000, description="Age of market data and fills on arrival, ms."
    )
    queue: Literal["on", "off"] = Field(
        "on",
        description="on: who came last at a price of the synthetic market is filled last; off: a "
        "trade that reaches a price fills everybody there.",
    )
    block_ms: int = Field(
        68, ge=1, le=10_000, description="Spacing of the emulated venue's blocks, ms."
    )
    requests: int = Field(
        10_000,
        ge=0,
        le=10**9,
        description="Requests the emulated venue grants an address before any volume.",
    )

    @property
    def has_queue(self) -> bool:
        """Whether the place in the queue matters."""
        return self.queue == "on"

    @field_validator("url")
    @classmethod
    def _host_can_be_one(cls, url: str) -> str:
        if not url.strip("/"):
            return url
        unfit = UnfitError("is not the address of a host; write it as http://127.0.0.1:3001")
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise unfit from None
        if parts.username is not None or parts.query or parts.fragment:
            raise unfit
        if not host or not ("[" in parts.netloc or _is_host(host)):
            raise unfit
        return url


def _is_host(name: str) -> bool:
    labels = name.removesuffix(".").split(".")
    return len(name) <= 253 and all(_HOST_LABEL.fullmatch(label) for label in labels)


class LabParams(BaseModel):
    """How the laboratory sets its variants."""

    model_config = _FROZEN

    law: Literal["world", "prototype"] = Field(
        "world",
        description="world: every variant has the width and the adverse law of its world, floors "
        "at break-even; prototype: widths, floors and fees of the vectorised market model.",
    )


class StartParams(BaseModel):
    """How a run begins."""

    model_config = _FROZEN

    retry_s: float = Field(
        70,
        ge=0,
        le=600,
        description="How long a start goes on asking a venue that is overloaded, down, or away "
        "while orders of an earlier run may rest, s. The venue's limit is per minute.",
    )


class LiveParams(BaseModel):
    """What a person must have said before real money is traded."""

    model_config = _FROZEN

    accept_negative_edge: bool = Field(
        default=False,
        description="Trade although the width that is quoted is not known to pay at this fee. "
        "The run then calls itself a measurement.",
    )
    recording: UsablePath | None = Field(
        None,
        description="Folder of a recording of this market (docs/recordings.md). A live run begins "
        "only where the half spread it opens with pays on it at the account's own fee; check "
        "prints what each width earns.",
    )


class LogParams(BaseModel):
    """What the log keeps."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_extra={"reloadable": ["level"]}
    )

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level written."
    )
    dir: UsablePath = Field(Path("logs"), description="Folder of the run directories.")


class ReportParams(BaseModel):
    """The post-mortem of a run (`mmbot report`)."""

    model_config = _FROZEN

    at_end: bool = Field(
        default=True,
        description="Make report.html and report.json when a run has ended, once everything is "
        "cancelled and told.",
    )


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
        for key, value in _numbers(self.model_dump()):
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


def _numbers(tree: object, key: str = "") -> Iterator[tuple[str, float]]:
    """Every float of nested tables and lists, with its dotted key."""
    if isinstance(tree, float):
        yield key, tree
    elif isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from _numbers(value, f"{key}.{name}" if key else str(name))
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from _numbers(value, key)


def load(path: Path, overrides: Sequence[str] = (), *, has_factors: bool = False) -> Config:
    """
    Read the configuration file, apply `KEY=VALUE` overrides and check the result.

    Args:
        path: The file.
        overrides: `section.key=value` texts.
        has_factors: Whether `2x` multiplies the value of a numeric key (`config.factors`). Whoever
            trades writes the number.

    Raises:
        ConfigError: With the file, each key, its value, the bound and the remedy.
    """
    try:
        tree = read_toml(read_text(path), str(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    return overridden(tree, overrides, str(path), has_factors=has_factors)


def overridden(
    tree: dict[str, Any], overrides: Sequence[str], source: str, *, has_factors: bool = False
) -> Config:
    """
    Apply overrides to a parsed configuration, in their order, and check the result.

    Raises:
        ConfigError: As of `load`; `source` names the configuration.
    """
    for item in overrides:
        if is_factor(item):
            multiply(tree, item, _plain(parse(tree, source)), has_factors=has_factors)
        else:
            override(tree, item)
    return parse(tree, source)


def _plain(config: Config) -> dict[str, Any]:
    """Every value in force, those of the market of the scenario included."""
    return {**config.model_dump(mode="json"), "market": config.market_params.model_dump()}


def parse(tree: Mapping[str, Any], source: str) -> Config:
    """Check a parsed configuration; `source` names it in messages."""
    try:
        return Config.model_validate(tree)
    except RecursionError:
        raise ConfigError(f"{source}: nested too deeply to be a configuration") from None
    except ValidationError as error:
        lines = [f"{source}: {explain(Config, item)}" for item in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def market_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """
    Figures of the synthetic market from `market.key=value` texts.

    Raises:
        ConfigError: Another section, or not of that form.
    """
    tree: dict[str, Any] = {}
    for item in overrides:
        override(tree, item)
    if strangers := sorted(tree.keys() - {"market"}):
        raise ConfigError(f"--set {show(strangers[0])}: an exchange takes market.key=value alone")
    market = tree.get("market", {})
    if not isinstance(market, dict):
        raise ConfigError("--set market: write it as market.key=value")
    for key, value in _numbers(market, "market"):
        if not math.isfinite(value):
            raise ConfigError(f"--set {key}={value}: is not a finite number; write one")
    return market


def dump_toml(config: Config) -> str:
    """
    The effective configuration as TOML, defaults filled in, to keep beside a run.

    There is no secret in a configuration: it names where the key is, not the key.
    """
    return dump(config.model_dump(mode="json", exclude_none=True))
