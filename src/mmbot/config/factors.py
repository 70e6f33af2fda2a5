"""
Overrides that multiply: `section.key=2x` asks what would be with twice of a figure.

For what trades nothing: the laboratory and the counterfactual replay. A run is given numbers, so
that whoever reads its configuration reads what was in force.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from mmbot.config.toml import override
from mmbot.config.words import show
from mmbot.errors import ConfigError

_FACTOR: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?|\.[0-9]+)x\s*")
_MEANT: Final = re.compile(r"\s*[-+]?(?:[0-9.][0-9.,_e+-]*|inf|nan)x\s*", re.IGNORECASE)


def is_factor(item: str) -> bool:
    """Whether a `KEY=VALUE` text has a value that is meant as one, such as `2x`, `0.5x`, `-1x`."""
    return _MEANT.fullmatch(item.partition("=")[2]) is not None


def multiply(
    tree: dict[str, Any], item: str, effective: Mapping[str, Any], *, has_factors: bool
) -> None:
    """
    Apply one `section.key=Nx`.

    Args:
        tree: The configuration as written; the product is put there.
        item: The text.
        effective: The same with every default filled in.
        has_factors: Whether whoever asks takes factors.

    Raises:
        ConfigError: The key is no number, is not set, or the command takes no factors.
    """
    key, _, text = item.partition("=")
    value = _value_at(effective, [part.strip() for part in key.split(".")])
    if value is _UNKNOWN or (isinstance(value, str) and not has_factors):
        # An unknown key is refused with those that there are; a text may look like a factor.
        override(tree, item)
        return
    name = f"--set {show(item)}"
    if not has_factors:
        raise ConfigError(
            f"{name}: a factor is for replay and lab alone; write the value, such as "
            f"{key.strip()}={_shown(value)}"
        )
    if value is None:
        raise ConfigError(
            f"{name}: {key.strip()} is not set, so nothing is there to multiply; write a value"
        )
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(
            f"{name}: {key.strip()} = {show(value)} is not a number; write the value to set"
        )
    found = _FACTOR.fullmatch(text)
    if found is None:
        raise ConfigError(
            f"{name}: a factor is a plain number from 0 up with an x behind it, such as 2x or "
            f"0.5x; to give {key.strip()} another sign, write the value"
        )
    product = value * float(found[1])
    if isinstance(value, int) and product.is_integer():
        product = int(product)
    override(tree, f"{key}={product!r}")


class _Unknown:
    """The absence of a key, which None is not."""


_UNKNOWN: Final = _Unknown()


def _value_at(tree: Mapping[str, Any], path: list[str]) -> Any:
    node: Any = tree
    for part in path:
        if not isinstance(node, Mapping) or part not in node:
            return _UNKNOWN
        node = node[part]
    return node


def _shown(value: Any) -> str:
    return "VALUE" if value is None or isinstance(value, Mapping | list) else str(value)
