"""Makes what a schedule says happen to a run, and tells which faults met an order in flight."""

from __future__ import annotations

from functools import partial
from typing import Final

from mmbot.core.types import NS_PER_MS, NS_PER_S
from mmbot.runtime.campaign.scene import Scene
from mmbot.runtime.campaign.schedule import Fault, Kind, Schedule, one_status

_AIM_EVERY_NS: Final = 3 * NS_PER_MS
_AIM_S: Final = 5.0
"""How long a fault waits for an order in flight."""
_MESSAGES: Final = frozenset(
    {
        Kind.STALL_STREAM,
        Kind.MUTE_STREAM,
        Kind.REORDER,
        Kind.DUPLICATE,
        Kind.DELAY,
        Kind.DROP,
    }
)
_LISTS: Final = {
    Kind.BUSY: ("refuse", 429),
    Kind.ERROR: ("refuse", 500),
    Kind.ERROR_DONE: ("answer", 500),
    Kind.BUSY_INFO: ("refuse_info", 429),
    Kind.ERROR_INFO: ("refuse_info", 500),
}
_COUNTS: Final = {Kind.UNANSWERED_DONE: "drop", Kind.UNANSWERED_LOST: "lose"}
_DELAYS: Final = {
    Kind.SLOW_ANSWERS: "delay_ms",
    Kind.SNAPSHOT_RACE: "info_delay_ms",
    Kind.LATE_EVENTS: "event_lag_ms",
    Kind.UNKNOWN_OID: "unknown_oid_lag_ms",
}
_SWITCHES: Final = {Kind.HALT: "is_halted", Kind.POST_ONLY: "is_post_only"}


class Injector:
    """
    Carries a schedule out.

    Attributes:
        begun: The faults that happened.
        hits: Those of them during which a request about an order waited for its verdict.
    """

    def __init__(self, stage: Scene, schedule: Schedule) -> None:
        self._stage = stage
        self._schedule = schedule
        self._active: list[Fault] = []
        self.begun: list[Fault] = []
        self.hits: set[Fault] = set()

    def arm(self) -> None:
        """Plan every fault from now on."""
        sim = self._stage.sim
        for fault in self._schedule.faults:
            at_ns = sim.clock() + round(fault.at_s * NS_PER_S)
            sim.call_at(at_ns, partial(self._aim, fault, at_ns + round(_AIM_S * NS_PER_S)))

    def look(self) -> None:
        """Note which faults in force have an order in flight."""
        if self._active and self._stage.is_in_flight:
            self.hits.update(self._active)

    def _aim(self, fault: Fault, latest_ns: int) -> None:
        stage, sim = self._stage, self._stage.sim
        if stage.endings:
            return
        if fault.is_aimed and sim.clock() < latest_ns and not stage.is_in_flight:
            sim.call_at(sim.clock() + _AIM_EVERY_NS, partial(self._aim, fault, latest_ns))
            return
        self.begun.append(fault)
        self._active.append(fault)
        self.look()
        stage.driver.catch_up()
        self._begin(fault)
        stage.driver.settle()
        sim.call_at(sim.clock() + round(fault.span_s * NS_PER_S), partial(self._lift, fault))

    def _begin(self, fault: Fault) -> None:
        stage = self._stage
        kind, dialer, faults = fault.kind, stage.dialer, stage.exchange.faults
        if kind in _MESSAGES:
            stage.meddler.begin(fault)
        elif kind in _LISTS:
            name, status = _LISTS[kind]
            faults.update({name: [*getattr(faults, name), *[status] * fault.count]})
        elif kind in _COUNTS:
            name = _COUNTS[kind]
            faults.update({name: getattr(faults, name) + fault.count})
        elif kind is Kind.ONE_STATUS:
            faults.update({"refuse_batch": [*faults.refuse_batch, *one_status(fault.count)]})
        elif kind is Kind.STALL:
            dialer.stall(is_stalled=True)
        elif kind is Kind.CUT_BYTE:
            dialer.cut_after(fault.count, is_upward=fault.is_up)
        elif kind is Kind.CLOCK:
            stage.set_ns += round(fault.size * NS_PER_S)
        elif kind is Kind.CUT:
            if fault.size:
                dialer.refuse = "down"
                back_ns = stage.sim.clock() + round(fault.size * NS_PER_S)
                stage.sim.call_at(back_ns, self._take_connections)
            dialer.cut()
        else:
            self._switch()
        if kind is Kind.UNKNOWN_OID:
            faults.update({"drop": faults.drop + 1})
        if kind in (Kind.SNAPSHOT_RACE, Kind.BUSY_INFO, Kind.ERROR_INFO):
            # A new connection reads the whole account, and asks about every order in flight.
            dialer.cut()

    def _take_connections(self) -> None:
        if not self._stage.endings and self._stage.dialer.refuse == "down":
            self._stage.dialer.refuse = None

    def _switch(self) -> None:
        """Set what lasts to the worst of the faults in force."""
        changes: dict[str, object] = {}
        for kind, name in _DELAYS.items():
            longest_s = max((f.size for f in self._active if f.kind is kind), default=0.0)
            changes[name] = round(1000 * longest_s)
        for kind, name in _SWITCHES.items():
            changes[name] = any(fault.kind is kind for fault in self._active)
        early = [fault for fault in self._active if fault.kind is Kind.EARLY_EVENTS]
        changes["is_event_first"] = bool(early)
        changes["is_modify_reversed"] = any(fault.is_up for fault in early)
        self._stage.exchange.faults.update(changes)

    def _lift(self, fault: Fault) -> None:
        if fault not in self._active:
            return
        self.look()
        stage, kind = self._stage, fault.kind
        faults = stage.exchange.faults
        self._active.remove(fault)
        stage.driver.catch_up()
        if kind in _MESSAGES:
            stage.meddler.end(fault)
        elif kind in _LISTS:
            name, status = _LISTS[kind]
            faults.update({name: [one for one in getattr(faults, name) if one != status]})
        elif kind in _COUNTS:
            faults.update({_COUNTS[kind]: 0})
        elif kind is Kind.ONE_STATUS:
            faults.update({"refuse_batch": []})
        elif kind is Kind.STALL:
            stage.dialer.stall(is_stalled=any(one.kind is Kind.STALL for one in self._active))
        self._switch()
        stage.driver.settle()
