"""What a question came to, as tables for a person."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from mmbot.runtime.report import words
from mmbot.runtime.rundir import mode_text
from mmbot.runtime.whatif.compare import Ablation, Altered, Asked, Counterfactual
from mmbot.runtime.whatif.figures import Figures


class _Row(NamedTuple):
    """A figure: what it is called, how it is written, and whether a sign says something."""

    name: str
    text: str
    spec: str
    is_signed: bool = False
    scale: float = 1.0


_ROWS: Final = (
    _Row("pnl_usd", "profit, USD", ".4f", is_signed=True),
    _Row("capture_usd", "  spread capture", ".4f", is_signed=True),
    _Row("adverse_usd", "  adverse selection (cost)", ".4f", is_signed=True),
    _Row("inventory_usd", "  inventory", ".4f", is_signed=True),
    _Row("fees_usd", "  fees (cost)", ".4f", is_signed=True),
    _Row("funding_usd", "  funding", ".4f", is_signed=True),
    _Row("fills", "fills", ".0f"),
    _Row("volume_usd", "traded, USD", ".0f"),
    _Row("position_mean_sz", "position, mean size", ".4g"),
    _Row("position_max_sz", "position, most", ".4g"),
    _Row("position_end_sz", "position at the end", ".4g", is_signed=True),
    _Row("two_sided_frac", "two-sided, %", ".1f", scale=100.0),
    _Row("requests", "requests", ".0f"),
)
_NAME: Final = 26
_WIDTH: Final = 12
_ABLATED: Final = (
    ("pnl_usd", "profit", 11),
    ("adverse_usd", "adverse", 11),
    ("fills", "fills", 8),
    ("position_mean_sz", "mean size", 11),
    ("position_max_sz", "most", 9),
    ("two_sided_frac", "two-sided", 11),
    ("requests", "requests", 10),
)
_DUST: Final = 9
_MONEY: Final = (
    "pnl_usd", "capture_usd", "adverse_usd", "inventory_usd", "fees_usd", "funding_usd",
)  # fmt: skip
_SHOWN_USD: Final = 5e-5
"""What is less is written as 0.0000."""
_ONE_RUN: Final = (
    "It is of one run, which may be luck, and its error is one sample as well: mmbot lab --ablate "
    "asks many seeds, mmbot backtest --ablate a recording."
)
_BY_NAME: Final = {row.name: row for row in _ROWS}


def lines(found: Counterfactual | Ablation, mode: str | None = None) -> list[str]:
    """
    The answer to one question.

    Args:
        found: The answer.
        mode: Of the run; the column of a run on paper is not called real.
    """
    out = _head(found)
    if mode is not None:
        out.insert(1, f"mode       {mode_text(mode)}")
    ran = "paper" if mode == "paper" else "real"
    if isinstance(found, Counterfactual):
        out.extend(_changed(found, ran))
    else:
        out.extend(_ablated(found, ran))
    out.append("")
    out.append(_weighed(found))
    return out


def _head(found: Asked) -> list[str]:
    model = found.model
    simulated = (
        f"a verdict takes {model.order_latency_ms:g} ms ({model.latency_from}), queue "
        f"x{model.queue_factor:g} ({model.queue_from}), maker fee {model.maker_bps:g} bps; the "
        "market is the recorded one without our orders"
    )
    out = [
        f"run        {found.run}: {found.market}, {words.span(found.span_s)}",
        f"simulated  {simulated}",
    ]
    if isinstance(found, Counterfactual):
        out.extend(
            f"change     {each.key} = {each.old} -> {each.new}{_when(each)}"
            for each in found.change
        )
    out.extend(f"warning    {text}" for text in found.warnings)
    out.append("")
    return out


def _when(each: Altered) -> str:
    """Of which part of the run, if not of all of it."""
    if each.to_s is None:
        return f" (from {each.from_s:.0f} s on)" if each.from_s else ""
    return f" (from {each.from_s:.0f} s to {each.to_s:.0f} s)"


def _changed(found: Counterfactual, ran: str) -> list[str]:
    heads = (ran, "baseline", "changed", "effect", "sim. error")
    out = [f"{'':<{_NAME}}" + "".join(f"{head:>{_WIDTH}}" for head in heads)]
    for row in _ROWS:
        columns = [getattr(each, row.name) for each in (found.real, found.baseline, found.changed)]
        cells = [_number(row, value) for value in columns]
        cells += [
            _number(row, each[row.name], is_signed=True) for each in (found.effect, found.error)
        ]
        out.append(f"{row.text:<{_NAME}}" + "".join(f"{cell:>{_WIDTH}}" for cell in cells))
    out.append(f"effect: changed less baseline; sim. error: baseline less {ran}")
    for name, each in (
        (ran, found.real),
        ("baseline", found.baseline),
        ("changed", found.changed),
    ):
        out.extend(_end(name, each))
    return out


def _end(name: str, each: Figures) -> list[str]:
    """How a column ended, if not as the others do."""
    if each.kill is None and each.left is None:
        return []
    after = "" if each.ended_s is None else f" after {words.span(each.ended_s)}"
    how = f"ENDED{after}, {each.left}" if each.kill is None else f"KILLED{after}, {each.kill}"
    held = f"; its {each.position_end_sz:+.4g} are held to the end" if each.is_stranded else ""
    return [f"{name}: {how}{held}"]


def _ablated(found: Ablation, ran: str) -> list[str]:
    out = [f"{'':<{_NAME}}" + "".join(f"{head:>{width}}" for _, head, width in _ABLATED)]

    def told(name: str, cell_of: Callable[[str], str]) -> None:
        cells = "".join(f"{cell_of(key):>{width}}" for key, _, width in _ABLATED)
        out.append(f"{name:<{_NAME}}{cells}".rstrip())

    def plain(each: Figures) -> Callable[[str], str]:
        return lambda key: _number(_BY_NAME[key], getattr(each, key))

    def less(each: dict[str, float]) -> Callable[[str], str]:
        return lambda key: _number(_BY_NAME[key], each[key], is_signed=True)

    told(ran, plain(found.real))
    told("baseline", plain(found.baseline))
    told("  sim. error", less(found.error))
    for name, each in found.mechanisms.items():
        killed = "" if each.figures.kill is None else " (KILLED)"
        told(f"without {name}{killed}", plain(each.figures))
        told("  effect", less(each.effect))
    for name, each in found.mechanisms.items():
        out.extend(_end(f"without {name}", each.figures))
    out.append(f"effect: without it less baseline; sim. error: baseline less {ran}")
    return out


def _number(row: _Row, value: float, *, is_signed: bool = False) -> str:
    # Sums of floats leave dust, and a negative zero is one to nobody.
    shown = float(format(round(value * row.scale, _DUST), row.spec)) + 0.0
    return format(shown, ("+" if is_signed or row.is_signed else "") + row.spec)


def _error_usd(found: Counterfactual | Ablation) -> float:
    """
    What an effect on the profit is held against: the largest error of it and of its parts.

    The errors of the parts cancel in their sum by luck alone, so that of the sum may be near
    nothing where the simulation met none of them.
    """
    return max(abs(found.error[name]) for name in _MONEY)


def _weighed(found: Counterfactual | Ablation) -> str:
    """What the effects on the profit are worth beside the error, and that it is of one run."""
    columns = {"the baseline": found.baseline}
    if isinstance(found, Counterfactual):
        columns["the changed run"] = found.changed
    stranded = _stranded(columns)
    if stranded:
        return f"No effect on the profit is weighed: {stranded}."
    if isinstance(found, Ablation):
        stranded = _stranded(
            {f"that without {name}": each.figures for name, each in found.mechanisms.items()}
        )
    left_out = f" Not weighed: {stranded}." if stranded else ""
    error = _error_usd(found)
    if error < _SHOWN_USD:
        return (
            "The simulation met the profit and its parts to the last digit shown, so nothing can "
            f"be said of the error that the effects have. {_ONE_RUN}{left_out}"
        )
    measure = f"the error of the simulation, {error:.4f} USD (the largest of the profit's parts)"
    if isinstance(found, Counterfactual):
        said = f"The effect on the profit, {found.effect['pnl_usd']:+.4f} USD, is"
        if abs(found.effect["pnl_usd"]) <= error:
            return f"{said} within {measure}: it says nothing."
        return f"{said} more than {measure}. {_ONE_RUN}"
    beyond = [
        name
        for name, each in found.mechanisms.items()
        if abs(each.effect["pnl_usd"]) > error and not each.figures.is_stranded
    ]
    if not beyond:
        return f"No effect on the profit is more than {measure}: they say nothing.{left_out}"
    return (
        f"Effects on the profit of more than {measure}: {', '.join(beyond)}. {_ONE_RUN}{left_out}"
    )


def _stranded(columns: dict[str, Figures]) -> str:
    """Which of them kept a position that a run would have closed, and since when."""
    return "; ".join(
        f"{name} ended after {words.span(each.ended_s)} and holds {each.position_end_sz:+.4g} to "
        "the end, where a run closes its position"
        for name, each in columns.items()
        if each.is_stranded and each.ended_s is not None
    )
