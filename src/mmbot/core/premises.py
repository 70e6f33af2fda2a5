"""
What must hold at the venue before a position may grow: a fresh oracle, a mark near it, room under
the cap of open interest, a market that trades.

A builder dex sets oracle and mark by its own deployer, who can stop doing so, cap the market or
halt it; the price at which we would be liquidated is then anybody's. Each of these empties the side
that adds, with a reason of its own, and leaves the side that reduces.

The venue dates no oracle. That it is fresh is therefore judged by three things: the stream that
tells it must not be silent, the mark must lie near it, and it must not stand still while its market
goes away from where it was when it last changed. An oracle that stands in a market that stands is
taken for alive: no deployer is asked to invent a change, and outside the hours of its own exchange
an honest one tells the same price for days.

Source: Hyperliquid docs, "HIP-3 deployer actions" (`setOracle`, `haltTrading`), "Open interest
caps", "Delisting".
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from mmbot.core.events import AssetCtx, Gauge, Listing, Measured, OrderUpdate, Rejected, Rejection
from mmbot.core.intents import Note
from mmbot.core.types import NS_PER_S

_REFUSED_NS: Final = 30 * NS_PER_S
"""How long a refusal for a halt or a cap keeps the side empty; then the venue is asked again."""
_CAP_CANCELED: Final = "openInterestCapCanceled"
_DELISTED_CANCELED: Final = "delistedCanceled"


class PremisesParams(BaseModel):
    """What must hold at the venue before a position may grow."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    oracle_stale_s: float = Field(
        10.0,
        ge=2,
        le=600,
        description="Silence of the stream that tells the venue's oracle, or time for which that "
        "is unchanged in a market that moves (oracle_gap_bps), from which nothing is added to the "
        "position, s.",
    )
    oracle_gap_bps: float = Field(
        50.0,
        gt=0,
        le=1000,
        description="Difference of mark and oracle, or move of mark or mid since the oracle "
        "changed last, above which nothing is added to it, bps.",
    )
    halt_exit_s: float = Field(
        120.0,
        ge=5,
        le=3600,
        description="Time for which trading is halted at the venue after which the run ends, s; a "
        "delisting ends it at once.",
    )
    check_s: float = Field(
        20.0,
        ge=5,
        le=600,
        description="Time between two readings of the venue's list of markets at their cap of open "
        "interest, s.",
    )


class Shut(Enum):
    """Why nothing may be added to the position."""

    DELISTED = "delisted"
    HALTED = "trading halted"
    CAP = "open interest cap"
    ORACLE_STALE = "oracle stale"
    ORACLE_GAP = "mark off oracle"
    ORACLE_STANDS = "oracle stands still"


class Premises:
    """Follow what the venue says of the market; say whether a position in it may grow."""

    __slots__ = (
        "_base_mark_px",
        "_base_mid_px",
        "_capped_ns",
        "_dark_ns",
        "_gap_bps",
        "_halt_exit_ns",
        "_halted_ns",
        "_has_mid",
        "_is_capped",
        "_is_delisted",
        "_is_silent",
        "_moved_bps",
        "_oracle_ns",
        "_params",
        "_refused_ns",
        "_stale_ns",
        "_was",
        "ctx_ns",
        "notes",
        "oracle_px",
    )

    def __init__(self, params: PremisesParams) -> None:
        self._params = params
        self._stale_ns = round(params.oracle_stale_s * NS_PER_S)
        self._halt_exit_ns = round(params.halt_exit_s * NS_PER_S)
        self.ctx_ns: int | None = None
        """When the oracle came last; the venue stamps none of it."""
        self.oracle_px = 0.0
        self.notes: list[Note] = []
        self._gap_bps = 0.0
        self._oracle_ns: int | None = None
        """When the oracle changed last, with mark and mid of then."""
        self._base_mark_px = 0.0
        self._base_mid_px: float | None = None
        self._moved_bps = 0.0
        """How far the farther of the two has gone since."""
        self._has_mid = True
        self._dark_ns: int | None = None
        """Since when the venue shows neither a mid nor a book."""
        self._halted_ns: int | None = None
        """When the venue began to refuse orders because trading is halted."""
        self._refused_ns: int | None = None
        self._capped_ns: int | None = None
        """When it last refused or cancelled for the cap."""
        self._is_capped = False
        self._is_delisted = False
        self._is_silent = False
        self._was: Shut | None = None

    # -- what the venue says ----------------------------------------------------------------------

    def on_ctx(self, event: AssetCtx) -> None:
        """Mark and oracle of now."""
        self.ctx_ns = event.recv_ns
        self._is_silent = False
        oracle, mid = event.oracle_px, event.mid_px
        if self._oracle_ns is None or oracle != self.oracle_px:
            self._oracle_ns = event.recv_ns
            self._base_mark_px, self._base_mid_px = event.mark_px, mid
            self._moved_bps = 0.0
        else:
            if self._base_mid_px is None:
                self._base_mid_px = mid
            self._moved_bps = max(
                _apart_bps(event.mark_px, self._base_mark_px), _apart_bps(mid, self._base_mid_px)
            )
        self.oracle_px = oracle
        self._gap_bps = (event.mark_px / oracle - 1) * 1e4 if oracle > 0 else inf
        self._has_mid = mid is not None

    def on_measured(self, event: Measured) -> None:
        """A stream that never spoke has no age here; the shell measures it."""
        if event.gauge is Gauge.MARK_AGE_S and event.value >= self._params.oracle_stale_s:
            self._is_silent = self.ctx_ns is None

    def on_listing(self, event: Listing) -> None:
        """The venue's lists: they outdo what a refusal told, unless that is newer."""
        self._is_delisted = self._is_delisted or event.is_delisted
        self._is_capped = event.is_capped
        if self._capped_ns is not None and self._capped_ns < event.requested_at_ns:
            self._capped_ns = None

    def on_rejected(self, event: Rejected) -> None:
        """A refusal that says something of the market."""
        if event.reason is Rejection.HALTED:
            self._refused_ns = event.recv_ns
            if self._halted_ns is None:
                self._halted_ns = event.recv_ns
        elif event.reason is Rejection.CAP:
            self._capped_ns = event.recv_ns

    def on_accepted(self, sent_ns: int) -> None:
        """The venue took an order that was sent at `sent_ns`: trading is on, or was until then."""
        if self._refused_ns is not None and sent_ns > self._refused_ns:
            self._halted_ns = self._refused_ns = None

    def on_update(self, event: OrderUpdate) -> None:
        """An order that the venue itself ended."""
        if event.status == _CAP_CANCELED:
            self._capped_ns = event.recv_ns
        elif event.status == _DELISTED_CANCELED:
            self._is_delisted = True

    def shift_clock(self, step_ns: int) -> None:
        """Our clock was set, forward by `step_ns`."""
        for name in ("ctx_ns", "_oracle_ns", "_dark_ns", "_halted_ns", "_refused_ns", "_capped_ns"):
            at_ns = getattr(self, name)
            if at_ns is not None:
                setattr(self, name, at_ns + step_ns)

    # -- what follows -----------------------------------------------------------------------------

    def update(self, now_ns: int, *, has_book: bool) -> Shut | None:
        """
        Why nothing may be added now, None if it may; what changed is noted.

        `has_book` says whether our own book has two sides: a halted market shows neither that nor
        a mid, while a mid that is merely late says nothing.
        """
        if self._has_mid or has_book:
            self._dark_ns = None
        elif self._dark_ns is None:
            self._dark_ns = now_ns
        shut = self._shut(now_ns)
        if shut is not self._was:
            self._note(shut, now_ns)
            self._was = shut
        return shut

    def _shut(self, now_ns: int) -> Shut | None:
        if self._is_delisted:
            return Shut.DELISTED
        if self._dark_ns is not None or _is_recent(self._refused_ns, now_ns):
            return Shut.HALTED
        if self._is_capped or _is_recent(self._capped_ns, now_ns):
            return Shut.CAP
        if self._is_silent or self._is_old(now_ns):
            return Shut.ORACLE_STALE
        if abs(self._gap_bps) > self._params.oracle_gap_bps:
            return Shut.ORACLE_GAP
        if self._moved_bps > self._params.oracle_gap_bps and self._is_standing(now_ns):
            return Shut.ORACLE_STANDS
        return None

    def _is_old(self, now_ns: int) -> bool:
        return self.ctx_ns is not None and now_ns - self.ctx_ns > self._stale_ns

    def _is_standing(self, now_ns: int) -> bool:
        return self._oracle_ns is not None and now_ns - self._oracle_ns > self._stale_ns

    @property
    def is_halted(self) -> bool:
        """Whether nothing can be traded, as of the last `update`."""
        return self._was is Shut.HALTED or self._was is Shut.DELISTED

    def refusal(self, coin: str, now_ns: int) -> str | None:
        """Why the run should end, after `update` at the same time; None nearly always."""
        if self._was is Shut.DELISTED:
            return f"{coin} was delisted by the venue: nothing can be traded there any more"
        if self._was is not Shut.HALTED:
            return None
        since_ns = min(at for at in (self._dark_ns, self._halted_ns, now_ns) if at is not None)
        if now_ns - since_ns < self._halt_exit_ns:
            return None
        return (
            f"{coin} has been halted at the venue for {(now_ns - since_ns) / NS_PER_S:.0f} s "
            "(premises.halt_exit_s); start again once it trades"
        )

    def wake_at_ns(self, now_ns: int) -> int | None:
        """When the answer changes by time alone."""
        times = []
        if self.ctx_ns is not None:
            times.append(self.ctx_ns + self._stale_ns + 1)
        times += [at + _REFUSED_NS for at in (self._refused_ns, self._capped_ns) if at is not None]
        times += [
            at + self._halt_exit_ns for at in (self._dark_ns, self._halted_ns) if at is not None
        ]
        return min((at for at in times if at > now_ns), default=None)

    def _note(self, shut: Shut | None, now_ns: int) -> None:
        facts: dict[str, int | float | str | bool | None] = {
            "reason": None if shut is None else shut.value,
            "before": None if self._was is None else self._was.value,
            "oracle_age_s": None if self.ctx_ns is None else (now_ns - self.ctx_ns) / NS_PER_S,
            "oracle_stood_s": None
            if self._oracle_ns is None
            else (now_ns - self._oracle_ns) / NS_PER_S,
            "moved_since_bps": self._moved_bps,
            "mark_off_oracle_bps": None if self._gap_bps == inf else self._gap_bps,
        }
        if shut is None:
            self.notes.append(Note("market.opened", "info", facts))
        else:
            self.notes.append(Note("market.shut", "warning", facts))


def _apart_bps(px: float | None, base_px: float | None) -> float:
    """Distance of two prices; 0 where one is not there."""
    return 0.0 if px is None or not base_px else abs(px / base_px - 1) * 1e4


def _is_recent(at_ns: int | None, now_ns: int) -> bool:
    return at_ns is not None and now_ns - at_ns < _REFUSED_NS
