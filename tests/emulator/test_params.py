"""Every number a person can set for venue or client has to be a number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

from mmbot.emulator.latency import LatencyParams
from mmbot.emulator.limits import LimitParams
from mmbot.emulator.market import MarketParams
from mmbot.emulator.params import ExchangeParams
from mmbot.emulator.paths import FlowParams
from mmbot.emulator.specs import VenueParams
from mmbot.emulator.tape import BacktestParams, RecordedVenueParams
from mmbot.hyperliquid.gateway import GatewayParams
from mmbot.hyperliquid.link import LinkParams

_MODELS: list[type[BaseModel]] = [
    BacktestParams,
    ExchangeParams,
    FlowParams,
    GatewayParams,
    LatencyParams,
    LimitParams,
    LinkParams,
    MarketParams,
    RecordedVenueParams,
    VenueParams,
]


def _holds(annotation: Any, kind: type) -> bool:
    return annotation is kind or any(_holds(each, kind) for each in get_args(annotation))


def _fields() -> Iterator[Any]:
    for model in _MODELS:
        for name, field in model.model_fields.items():
            if _holds(field.annotation, float) or _holds(field.annotation, int):
                is_list = get_origin(field.annotation) in {tuple, list}
                yield pytest.param(model, name, is_list, id=f"{model.__name__}.{name}")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(("model", "name", "is_list"), list(_fields()))
def test_no_parameter_may_be_something_else_than_a_finite_number(
    model: type[BaseModel], name: str, is_list: bool, value: float
) -> None:
    """NaN passes every comparison that should have stopped it, and TOML can spell it."""
    with pytest.raises(ValidationError):
        model(**{name: [value] if is_list else value})


@pytest.mark.parametrize("delays_s", [[], [0.0], [-1.0], [61.0], [0.5, float("nan")], [1.0] * 11])
def test_waits_between_questions_are_bounded_one_by_one(delays_s: list[float]) -> None:
    """One bad wait among good ones would ask at once for ever, or never again."""
    with pytest.raises(ValidationError):
        GatewayParams.model_validate({"query_delays_s": delays_s})
