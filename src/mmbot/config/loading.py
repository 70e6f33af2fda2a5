"""From a file and `--set` to a configuration that was checked, and back to text."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mmbot.config.factors import is_factor, multiply
from mmbot.config.kinds import misfits
from mmbot.config.toml import dump, override, read_text, read_toml
from mmbot.config.whole import Config, numbers
from mmbot.config.words import explain, show
from mmbot.emulator.market import MarketParams
from mmbot.errors import ConfigError


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
    wrong = {
        **dict(misfits(Config, tree)),
        **dict(misfits(MarketParams, tree.get("market"), "market")),
    }
    lines = [f"{source}: {text}" for text in wrong.values()]
    try:
        config = Config.model_validate(tree)
    except RecursionError:
        raise ConfigError(f"{source}: nested too deeply to be a configuration") from None
    except ValidationError as error:
        lines += [
            f"{source}: {explain(Config, item)}"
            for item in error.errors()
            # What contradicts another key may do so only for having been made of a misfit.
            if ".".join(map(str, item["loc"])) not in wrong and (item["loc"] or not wrong)
        ]
        raise ConfigError("\n".join(lines)) from None
    if lines:
        raise ConfigError("\n".join(lines))
    return config


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
    for _, text in misfits(MarketParams, market, "market"):
        raise ConfigError(f"--set {text}")
    for key, value in numbers(market, "market"):
        if not math.isfinite(value):
            raise ConfigError(f"--set {key}={value}: is not a finite number; write one")
    return market


def dump_toml(config: Config) -> str:
    """
    The effective configuration as TOML, defaults filled in, to keep beside a run.

    There is no secret in a configuration: it names where the key is, not the key.
    """
    return dump(config.model_dump(mode="json", exclude_none=True))
