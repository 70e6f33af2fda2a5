"""The report of a run as tables for a person."""

from __future__ import annotations

from mmbot.runtime.lab.measure import DIFFERENCE, Figure, LabReport, VariantReport

_MONEY: tuple[tuple[str, int], ...] = (
    ("pnl $", 9),
    ("sd", 8),
    ("worst 5 %", 11),
    ("minus base $ (95 %)", 22),
    ("fills", 8),
    ("adv 1s", 8),
    ("5s", 7),
    ("30s bps", 9),
    ("drawdown %", 12),
)
_CONDUCT: tuple[tuple[str, int], ...] = (
    ("|q| end", 9),
    ("largest", 9),
    ("p95", 7),
    ("opposed %", 11),
    ("bid %", 8),
    ("ask %", 8),
    ("both, calm %", 14),
    ("requests", 10),
    ("refused", 9),
    ("kill trips", 12),
)
_NAME = 16


def lines(report: LabReport, title: str | None = None) -> list[str]:
    """
    Two tables: what was earned, and how it was quoted.

    `title` replaces the line that tells of the seeds.

    Markouts are adverse moves, positive against us; |q| is over its limit; 'both, calm' is the time
    with an order on both sides while |q| is below a fifth of the limit.
    """
    last = report.first_seed + report.seeds - 1
    title = title or (
        f"{report.scenario}: {report.seeds} sessions of {report.minutes:g} minutes, seeds "
        f"{report.first_seed} to {last}; paired on common random numbers"
    )
    out = [title, "", _head(_MONEY)]
    out.extend(_money(variant) for variant in report.variants.values())
    out.extend(("", _head(_CONDUCT)))
    out.extend(_conduct(variant) for variant in report.variants.values())
    out.extend(
        f"{name}: half spread {variant.half_spread_bps:.2f} bps, solved for the fills of all"
        for name, variant in report.variants.items()
        if variant.half_spread_bps is not None
    )
    return out


def _head(columns: tuple[tuple[str, int], ...]) -> str:
    return f"{'variant':<{_NAME}}" + "".join(f"{name:>{width}}" for name, width in columns)


def _row(variant: VariantReport, columns: tuple[tuple[str, int], ...], cells: list[str]) -> str:
    shown = "".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, columns, strict=True))
    return f"{variant.name:<{_NAME}}{shown}"


def _money(variant: VariantReport) -> str:
    figures = variant.figures
    cells = [
        _number(figures["pnl_usd"].mean, "+.3f"),
        _number(variant.pnl_sd_usd, ".3f"),
        f"{variant.pnl_worst_usd:+.3f}",
        _interval(figures[DIFFERENCE]),
        _number(figures["fills"].mean, ".1f"),
        *(_number(figures[f"markout_{s}s_bps"].mean, "+.2f") for s in (1, 5, 30)),
        _number(figures["max_drawdown_pct"].mean, ".2f"),
    ]
    return _row(variant, _MONEY, cells)


def _conduct(variant: VariantReport) -> str:
    figures = variant.figures
    cells = [
        _number(figures["final_q_frac"].mean, ".3f"),
        _number(figures["max_q_frac"].mean, ".3f"),
        _number(figures["max_q_frac"].p95, ".2f"),
        _percent(figures["opposed_frac"]),
        _percent(figures["quoted_frac_bid"]),
        _percent(figures["quoted_frac_ask"]),
        _percent(figures["calm_two_sided_frac"]),
        _number(figures["requests"].mean, ".0f"),
        _number(figures["refused"].mean, ".1f"),
        _number(figures["kill_trips"].mean, ".2f"),
    ]
    return _row(variant, _CONDUCT, cells)


def _number(value: float | None, spec: str) -> str:
    return "-" if value is None else format(value, spec)


def _percent(figure: Figure) -> str:
    return "-" if figure.mean is None else f"{100 * figure.mean:.1f}"


def _interval(figure: Figure) -> str:
    if figure.mean is None:
        return "-"
    half = figure.half_width
    return f"{figure.mean:+.3f}" + ("" if half is None else f" +- {half:.3f}")
