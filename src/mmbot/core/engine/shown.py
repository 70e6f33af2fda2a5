"""
What whoever asks is told of the engine beside its decisions: triggers, and the rules in force.

Nothing here is computed unless somebody asks, and nothing here decides.
"""

from __future__ import annotations

import msgspec

from mmbot.core.engine.watch import Watch
from mmbot.core.premises import Shut
from mmbot.core.triggers import Reach
from mmbot.core.types import BUY, NS_PER_S, REDUCING, SELL, Side, notional_usd

_DROPPED_NS = 60 * NS_PER_S
"""How long it is worth telling that the gate dropped an order."""


class Rule(msgspec.Struct, frozen=True):
    """
    One rule that shapes the quotes just now, or keeps a side empty.

    `side` is `buy`, `sell`, or empty for both; `until_ns` is when it ends by time, None where
    something has to happen first.
    """

    name: str
    side: str
    text: str
    until_ns: int | None = None


class Shown(Watch):
    """The part of the engine that answers questions."""

    _shut: Shut | None
    _warm_at_ns: int | None
    _dropped_ns: dict[tuple[str, str], int]

    @property
    def mark_ticks(self) -> float | None:
        """The venue's mark as it came last; None before the first."""
        return self._mark_ticks

    def reaches(self, now_ns: int) -> tuple[Reach, ...]:
        """Every trigger of the kill switch that has a figure, beside its limit."""
        limits, mark = self.risk.limits, self._mark_ticks or self.book.last_mid_ticks
        share, x = None, 0.0
        if mark is not None and self.position.is_started:
            position = self.position
            share = self.alarms.margin.share(position, mark, position.pnl_usd(mark))
            if limits is not None and limits.q_max_usd > 0:
                x = notional_usd(mark, abs(position.lots)) / limits.q_max_usd
        left = self._reconciler.requests.left if self._snapshot_ns is not None else None
        return (
            *self.risk.reaches(x, self.book.touch_age_ns(now_ns)),
            *self.alarms.reaches(
                now_ns,
                margin_share=share,
                offset_ns=self.book.offset_ns,
                requests_left=left,
                mark_ns=self.ctx_ns,
                account_ns=self.account_ns,
            ),
        )

    def rules(self, now_ns: int) -> tuple[Rule, ...]:
        """The rules in force, those of the whole engine first."""
        return (*self._of_all(now_ns), *self._of_guards(now_ns), *self._of_sides(now_ns))

    def _of_all(self, now_ns: int) -> list[Rule]:
        found: list[Rule] = []
        risk = self.risk
        if risk.kill is not None:
            found.append(Rule("kill", "", f"kill switch: {risk.kill.text}"))
        if self._is_unrecorded:
            found.append(Rule("journal", "", "the journal does not keep up: nothing rests"))
        if self.alarms.is_pulled:
            text = "the venue's position is not ours: nothing rests"
            found.append(Rule("position_mismatch", "", text))
        for term in self._vitals.standing:
            text = f"vitals: {term} does not do what it must: only reducing"
            found.append(Rule("vitals", "", text))
        if not self._hours.is_open(now_ns):
            found.append(Rule("hours", "", self._hours.text(now_ns)))
        if self._shut is not None:
            text = f"the venue's {self._shut.value}: nothing is added"
            found.append(Rule("premises", "", text))
        if risk.soft_since_ns is not None and risk.mode is REDUCING:
            text = "a soft limit of loss: only reducing"
            found.append(Rule("soft_loss", "", text, risk.wake_at_ns()))
        warm_ns = self._warm_at_ns
        if warm_ns is not None and now_ns < warm_ns:
            text = "a young run: the side that adds is small"
            found.append(Rule("warm", "", text, warm_ns))
        if self._snapshot_ns is not None and self._reconciler.requests.is_spent:
            found.append(Rule("requests", "", "requests spent: cancels alone are sent"))
        return found

    def _of_guards(self, now_ns: int) -> list[Rule]:
        guards = self._guards
        if guards is None:
            return []
        found: list[Rule] = []
        if guards.is_jumping(now_ns):
            text = "the price jumped: nothing is added"
            found.append(Rule("jump", "", text, guards.jump_until_ns))
        edge_ns, stuck_ns = guards.edge_until_ns, guards.stuck_ns
        if edge_ns is not None and now_ns < edge_ns:
            text = "a proven loss per fill: only reducing"
            found.append(Rule("negative_edge", "", text, edge_ns))
        if stuck_ns is not None:
            for_s = (now_ns - stuck_ns) / NS_PER_S
            found.append(Rule("stuck", "", f"stuck against an urgent trend for {for_s:.0f} s"))
        for side in (BUY, SELL):
            if guards.is_off(side, now_ns):
                text = "swept again and again: nothing is added"
                found.append(Rule("swept", _name(side), text, guards.off_until_ns(side)))
        return found

    def _of_sides(self, now_ns: int) -> list[Rule]:
        found: list[Rule] = []
        for side, backoff in zip((BUY, SELL), self._backoff, strict=True):
            if backoff.is_active(self.book.version, now_ns):
                until_ns = backoff.until_ns if backoff.until_ns > now_ns else None
                text = "the venue refused an order: nothing new" + (
                    "" if until_ns else " before another book"
                )
                found.append(Rule("refused", _name(side), text, until_ns))
        for (name, reason), at_ns in self._dropped_ns.items():
            if now_ns - at_ns < _DROPPED_NS:
                ago_s = (now_ns - at_ns) / NS_PER_S
                text = f"the gate dropped an order {ago_s:.0f} s ago: {reason}"
                found.append(Rule("gate", name, text))
        return found


def _name(side: Side) -> str:
    return side.name.lower()
