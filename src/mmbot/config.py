"""
Configuration: one TOML file, checked before anything else happens.

Every section is a frozen model that stands beside the code reading it; this module composes them,
applies `--set`, and turns what is wrong into a sentence a person can act on.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from mmbot.core.book import BookParams
from mmbot.core.engine import EngineParams
from mmbot.core.estimators.volatility import VolatilityParams
from mmbot.core.ladder import MIN_NOTIONAL_USD, LadderParams
from mmbot.core.quoter import QuoterParams
from mmbot.core.reconcile import ReconcileParams
from mmbot.core.risk import RiskParams
from mmbot.emulator.market import MarketParams
from mmbot.emulator.scenarios import SCENARIOS
from mmbot.emulator.tape import BacktestParams
from mmbot.errors import ConfigError
from mmbot.hyperliquid.gateway import GatewayParams
from mmbot.hyperliquid.link import LinkParams

Mode = Literal["emulator", "testnet", "live"]

_FROZEN: Final = ConfigDict(frozen=True, extra="forbid")

_MAY_BE_A_KEY: Final = re.compile(r"[0-9a-fA-F]{41,}")
"""Longer than an address: somebody put a secret where it does not belong."""

REMEDIES: Final = {
    "risk.capital_usd": "set the money this bot may risk, for example capital_usd = 100",
    "instrument.coin": 'name the perp as the venue does, for example coin = "HYPE"',
}
"""What to do about a key that has no default."""


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
    key_file: Path | None = Field(
        None,
        description="File of mode 0600 that holds the signing key, read if the variable is unset.",
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


class LogParams(BaseModel):
    """What the log keeps."""

    model_config = _FROZEN

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level written."
    )
    dir: Path = Field(Path("logs"), description="Folder of the run directories.")


class Config(BaseModel):
    """The whole configuration of a run."""

    model_config = _FROZEN

    mode: Mode = Field("emulator", description="emulator: no key, no network; testnet; live.")
    state_dir: Path = Field(
        Path("~/.local/state/mmbot"), description="Folder of the safety state (kill latch)."
    )
    instrument: InstrumentParams
    account: AccountParams = AccountParams()
    risk: RiskParams
    reference: ReferenceParams = ReferenceParams()
    quoter: QuoterParams = QuoterParams()
    ladder: LadderParams = LadderParams()
    reconcile: ReconcileParams = ReconcileParams()
    volatility: VolatilityParams = VolatilityParams()
    book: BookParams = BookParams()
    link: LinkParams = LinkParams()
    gateway: GatewayParams = GatewayParams()
    emulator: EmulatorParams = EmulatorParams()
    market: dict[str, Any] = Field(
        default_factory=dict, description="Figures of the synthetic market that differ."
    )
    backtest: BacktestParams = BacktestParams()
    log: LogParams = LogParams()

    @property
    def engine(self) -> EngineParams:
        """The parameters the core reads."""
        return EngineParams(
            risk=self.risk,
            quoter=self.quoter,
            ladder=self.ladder,
            reconcile=self.reconcile,
            volatility=self.volatility,
            book=self.book,
        )

    @property
    def market_params(self) -> MarketParams:
        """The scenario's market with the overrides of [market] applied."""
        base = SCENARIOS[self.emulator.scenario].params
        return MarketParams.model_validate({**base.model_dump(), **self.market})

    @model_validator(mode="after")
    def _limits_agree(self) -> Self:
        risk = self.risk
        geared_usd = risk.capital_usd * risk.leverage
        if risk.max_position_usd > geared_usd:
            _refuse(
                "risk.max_position_usd",
                risk.max_position_usd,
                f"contradicts risk.capital_usd x risk.leverage = {geared_usd:g}",
                "lower it or raise risk.leverage",
            )
        side_usd = risk.side_budget_frac * risk.max_position_usd
        if side_usd < MIN_NOTIONAL_USD:
            _refuse(
                "risk.side_budget_frac",
                risk.side_budget_frac,
                f"leaves {side_usd:g} USD a side, below the venue's minimum order of "
                f"{MIN_NOTIONAL_USD:g} USD",
                "raise it or risk.max_position_usd",
            )
        return self

    @model_validator(mode="after")
    def _market_is_known(self) -> Self:
        if self.emulator.scenario not in SCENARIOS:
            known = ", ".join(sorted(SCENARIOS))
            _refuse(
                "emulator.scenario",
                self.emulator.scenario,
                "is not a scenario",
                f"use one of: {known}",
            )
        try:
            _ = self.market_params
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(["market", *(str(part) for part in first["loc"])])
            remedy = _near(str(first["loc"][-1]), MarketParams.model_fields) if first["loc"] else ""
            _refuse(key, first["input"], first["msg"], remedy or "see mmbot check --schema")
        return self


class _RefusedError(ValueError):
    """A contradiction between keys, already worded."""


def _refuse(key: str, value: object, why: str, remedy: str) -> None:
    raise _RefusedError(f"{key} = {show(value)}: {why}; {remedy}")


def load(path: Path, overrides: Sequence[str] = ()) -> Config:
    """
    Read the configuration file, apply `KEY=VALUE` overrides and check the result.

    Raises:
        ConfigError: With the file, each key, its value, the bound and the remedy.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; see configs/ for templates") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a directory; name a .toml file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    for item in overrides:
        _override(tree, item)
    return parse(tree, str(path))


def parse(tree: Mapping[str, Any], source: str) -> Config:
    """Check a parsed configuration; `source` names it in messages."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        lines = [f"{source}: {_explain(item)}" for item in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def market_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """
    Figures of the synthetic market from `market.key=value` texts.

    Raises:
        ConfigError: Another section, or not of that form.
    """
    tree: dict[str, Any] = {}
    for item in overrides:
        _override(tree, item)
    if strangers := sorted(tree.keys() - {"market"}):
        raise ConfigError(f"--set {show(strangers[0])}: an exchange takes market.key=value alone")
    market = tree.get("market", {})
    if not isinstance(market, dict):
        raise ConfigError("--set market: write it as market.key=value")
    return market


def _override(tree: dict[str, Any], item: str) -> None:
    """Apply one `section.key=value`; the value is TOML, or a bare word taken as a string."""
    key, sign, text = item.partition("=")
    path = [part.strip() for part in key.split(".")]
    if not sign or not all(path):
        raise ConfigError(f"--set {show(item)}: write it as section.key=value")
    value: object = text
    # An address is hex digits to TOML, and text to everyone else.
    if not text.startswith("0x"):
        with suppress(tomllib.TOMLDecodeError):
            value = tomllib.loads(f"value = {text}")["value"]
    node = tree
    for part in path[:-1]:
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {show(item)}: {part} is a value, not a section")
        node = child
    node[path[-1]] = value


def _explain(item: ErrorDetails) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if _MAY_BE_A_KEY.search(key):
        key = show(key)
    kind = item["type"]
    if isinstance(cause := item.get("ctx", {}).get("error"), _RefusedError):
        return str(cause)
    if kind == "extra_forbidden":
        near = _near(str(item["loc"][-1]), _fields_at(item["loc"][:-1]))
        return f"{key} = {show(item['input'])}: unknown key; {near or 'remove it'}"
    if kind == "missing":
        remedy = REMEDIES.get(key, f"add it to section [{key.rpartition('.')[0] or key}]")
        return f"{key}: missing; {remedy}"
    if kind == "value_error":
        # A model's own check: its sentence begins with the key it is about.
        return f"{key}.{item['ctx']['error']}"
    why = item["msg"][:1].lower() + item["msg"][1:]
    return f"{key} = {show(item['input'])}: {why}; change it within that bound"


def _fields_at(loc: tuple[int | str, ...]) -> Mapping[str, object]:
    model: Any = Config
    for part in loc:
        field = model.model_fields.get(part)
        if field is None or not hasattr(field.annotation, "model_fields"):
            return {}
        model = field.annotation
    fields: Mapping[str, object] = model.model_fields
    return fields


def _near(name: str, known: Mapping[str, object]) -> str:
    match = difflib.get_close_matches(name, known, n=1)
    if match:
        return f"did you mean {match[0]}?"
    return f"the keys here are: {', '.join(known)}" if known else ""


def show(value: object) -> str:
    """A value as a message shows it: cut when long, and left out where it may be a key."""
    text = repr(value)
    if _MAY_BE_A_KEY.search(text):
        return "(not shown: it may be a key; keys come from the environment or a key file)"
    return text if len(text) <= 60 else text[:57] + "..."


def dump_toml(config: Config) -> str:
    """
    The effective configuration as TOML, defaults filled in, to keep beside a run.

    There is no secret in a configuration: it names where the key is, not the key.
    """
    plain = config.model_dump(mode="json", exclude_none=True)
    lines: list[str] = []
    _table(plain, (), lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def _table(values: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    scalars = {key: value for key, value in values.items() if not isinstance(value, dict)}
    if path and (scalars or not values):
        lines.extend(("", f"[{'.'.join(path)}]"))
    lines.extend(f"{key} = {_toml(value)}" for key, value in scalars.items())
    for key, value in values.items():
        if isinstance(value, dict):
            _table(value, (*path, key), lines)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return repr(value)
