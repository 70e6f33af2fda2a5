"""What `status` and `why` tell of a running daemon: their shapes, as they go over its socket."""

from __future__ import annotations

from typing import Any

import msgspec

from mmbot.core.engine.shown import Rule


class Order(msgspec.Struct, frozen=True):
    """
    One price of one side: what is wanted there, what rests there or is on its way.

    `bps` is the distance from fair, positive away from the market; None without a fair price.
    """

    px: float
    bps: float | None
    wanted_sz: float
    live_sz: float
    state: str
    """Of the order of ours: working, placing, moving, ...; empty where none is."""


class Stream(msgspec.Struct, frozen=True):
    """
    Age of one stream. `age_s` is None before its first message.

    `limit_s` is the age from which it counts as silent, None where silence says nothing.
    """

    name: str
    age_s: float | None
    limit_s: float | None
    is_stale: bool


class Holding(msgspec.Struct, frozen=True):
    """What is held. None where the account has not been read."""

    sz: float | None
    usd: float | None
    entry_px: float | None
    x: float | None
    """Of the limit, long positive."""
    limit_usd: float | None


class Pnl(msgspec.Struct, frozen=True):
    """
    Profit since the start of the run, by its fills, at the mid, USD.

    `total_usd` is the sum of the first four; `day_usd` alone is of more than the run.
    """

    realised_usd: float
    unrealised_usd: float | None
    """None without a price, as is the total."""
    fees_usd: float
    """Paid, so that it counts against the total."""
    funding_usd: float
    total_usd: float | None
    spread_capture_usd: float
    day_usd: float | None
    """Of the UTC day, by all runs of it."""


class Requests(msgspec.Struct, frozen=True):
    """What may still be asked of the venue."""

    left: int | None
    used: int | None
    cap: int | None
    per_h: float | None
    """At the churn of the last minutes, less what trades earn."""
    hours: float | None
    """For how long that lasts; None where trades earn what changes cost, or it is not known."""
    ip_weight: int
    ip_weight_max: int


class Trigger(msgspec.Struct, frozen=True):
    """One trigger of the kill switch. `used` is the part of the way to its limit, 0 to 1."""

    trigger: str
    value: float | None
    limit: float
    unit: str
    is_least: bool
    used: float | None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A daemon, at a moment. Prices and sizes in USD and coins, ages in s as of `at_ns`."""

    at_ns: int
    pid: int
    run_dir: str
    mode: str
    coin: str
    user: str
    started_ns: int
    uptime_s: float
    phase: str
    """starting, trading, cancelling, verifying, flattening, ended."""
    risk_mode: str | None
    reasons: tuple[str, ...]
    rules: tuple[Rule, ...]
    is_link_up: bool
    decided_s: float | None
    """Since the engine was asked last."""
    is_stale: bool
    """Whether what is shown of the market is too old to be of now."""
    streams: tuple[Stream, ...]
    journal_lag_s: float | None
    fair_px: float | None
    mid_px: float | None
    mark_px: float | None
    holding: Holding
    equity_usd: float | None
    """Capital at the start and the profit since, at the lower of mid and mark: what the limits
    of the kill switch look at."""
    equity_start_usd: float | None
    """That capital: `risk.capital_usd`, or the value of the account where that is less."""
    account_usd: float | None
    """Value of the account at the venue, as read last."""
    pnl: Pnl
    fills: int
    bids: tuple[Order, ...]
    """Nearest first."""
    asks: tuple[Order, ...]
    requests: Requests
    kill: str | None
    """Why the kill switch tripped; None if it did not."""
    triggers: tuple[Trigger, ...]
    dead_man: bool
    """Whether the venue cancels everything when we fall silent."""
    on_exit: str
    reloads: int


class SideWhy(msgspec.Struct, frozen=True):
    """One side of the quote: why it is where it is, or why it is empty."""

    side: str
    px: float | None
    sz: float | None
    bps: float | None
    pulled: str | None
    resting_px: float | None
    """Of our nearest order that rests or is on its way."""
    resting_bps: float | None
    exposure_sz: float
    budget_sz: float
    terms: dict[str, float | None]
    """bps of fair, positive away from the market; None is a term whose estimate is absent."""
    off: tuple[str, ...]
    """Terms that the configuration switches off."""
    capped: tuple[str, ...]
    """Terms that stand at their bound."""


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """Why each side is quoted as it is. `at_ns` is when the record was made, `age_s` ago."""

    mode: str
    coin: str
    phase: str
    at_ns: int | None
    age_s: float | None
    risk_mode: str | None
    reasons: tuple[str, ...]
    rules: tuple[Rule, ...]
    fair_px: float | None
    floor_bps: float | None
    hold_bps: float | None
    sides: tuple[SideWhy, ...]
    figures: dict[str, Any]
    """The estimates behind it, of the same record."""
