"""
What must hold after a run, whatever happened to it; each violation in words.

All of it is held against the venue's own books, none against what the program believes of them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from mmbot.core.intents import KillReason
from mmbot.core.triggers import Trip
from mmbot.errors import Exit
from mmbot.runtime.campaign.scene import Scene
from mmbot.runtime.ending import Ending

CENT_USD: Final = 0.01
_LOTS: Final = 1e-9
_SURE: Final = 1.15
"""Figures of money that far beyond their limit trip the switch, that far below it do not; between
the two it depends on moments that are not looked at."""
_MONEY: Final = frozenset({Trip.SESSION_LOSS, Trip.DAY_LOSS, Trip.DRAWDOWN})


def violations(
    stage: Scene,
    must: Trip | None,
    untrue: Collection[str] = (),
    codes: Collection[Exit] = (Exit.OK,),
) -> list[str]:
    """
    Everything wrong with a run.

    Args:
        must: The trigger that its end has to fire.
        codes: What it may exit with where none fires.
        untrue: What was believed before a calm end and was not so; see `Scene.untrue`.
    """
    if not stage.endings:
        return ["the run did not end"]
    ending = stage.endings[0]
    return [
        *sorted(untrue),
        *_left_behind(stage, ending, codes),
        *_truth(stage, ending),
        *_limits(stage),
        *_requests(stage, ending),
        *_switch(stage, ending.kill, must),
    ]


def _left_behind(stage: Scene, ending: Ending, codes: Collection[Exit]) -> list[str]:
    found: list[str] = []
    resting = stage.resting()
    if resting:
        found.append(f"{len(resting)} orders rest after the end: {resting[0]['cloid']}")
    if ending.final is None:
        found.append(f"the end was not verified: {ending.reason}")
    if ending.exit_code not in (codes if ending.kill is None else (Exit.KILLED,)):
        is_flat = ending.closed is None or ending.closed.is_flat
        if is_flat or ending.exit_code is not Exit.FAILED:
            found.append(f"exit code {ending.exit_code.name}: {ending.reason}, {ending.error}")
    if stage.strays:
        at_s, cloid = stage.strays[0]
        found.append(f"{len(stage.strays)} looks found an orphan, first {cloid} at {at_s:.3f} s")
    return found


def _truth(stage: Scene, ending: Ending) -> list[str]:
    found: list[str] = []
    engine, start_usd = stage.trader.engine, stage.trader.start_equity_usd
    if start_usd is None:
        return ["the account was never read"]
    summary: dict[str, Any] = stage.summary()
    fills = len(stage.fills()) - stage.inherited_fills
    if summary["fills"] != fills:
        found.append(f"{summary['fills']} fills booked, the venue made {fills}")
    kept = {(fill.tid, fill.oid, fill.venue_ms) for fill in stage.told}
    made = stage.fills()[stage.inherited_fills :]
    lost = sum((row["tid"], row["oid"], row["time"]) not in kept for row in made)
    if lost:
        found.append(f"{lost} fills of {len(made)} are not in the ledger")
    ours, theirs = summary["position_sz"], stage.position_sz()
    if abs(ours - theirs) > _LOTS:
        found.append(f"position {ours:g}, the venue has {theirs:g}")
    state = stage.state()
    held = [row["position"] for row in state["assetPositions"]]
    if held:
        mark_px = abs(float(held[0]["positionValue"]) / float(held[0]["szi"]))
    else:
        mark_px = 1.0 if ending.final is None else ending.final.mark_px
    value_usd = float(state["marginSummary"]["accountValue"]) + stage.taken_usd
    earned_usd = value_usd - start_usd
    pnl_usd = engine.position.pnl_usd(stage.instrument.ticks(mark_px))
    if abs(earned_usd - pnl_usd) >= CENT_USD:
        found.append(f"profit {pnl_usd:.4f} USD, the venue's equity says {earned_usd:.4f}")
    total_usd = summary["realised_usd"] + summary["unrealised_usd"]
    net_usd = total_usd - summary["fees_usd"] + summary["funding_usd"]
    if abs(summary["pnl_usd"] - net_usd) >= CENT_USD:
        found.append(f"profit {summary['pnl_usd']:.4f} USD is not its parts, {net_usd:.4f}")
    adopted = engine.position.adopted_lots
    if adopted:
        found.append(f"{adopted} lots were adopted that no fill explains")
    found.extend(f"{row['event']}: {row}" for row in stage.log.named("invariant.broken"))
    return found


def _limits(stage: Scene) -> list[str]:
    if not stage.over:
        return []
    at_s, share = max(stage.over, key=lambda one: one[1])
    return [f"everything live filled makes {share:.3f} of the position limit at {at_s:.3f} s"]


def _requests(stage: Scene, ending: Ending) -> list[str]:
    """Only the closing of a position takes, and only by reducing it."""
    if ending.closed is not None:
        return []
    taken = [fill for fill in stage.fills() if fill["crossed"] and fill.get("cloid") is not None]
    return [f"{len(taken)} fills took liquidity, first {taken[0]}"] if taken else []


def _switch(stage: Scene, kill: KillReason | None, must: Trip | None) -> list[str]:
    found: list[str] = []
    risk = stage.config.risk
    loss = stage.loss_usd / risk.loss_usd(risk.capital_usd)
    fall = stage.fall_frac / risk.drawdown_limit_frac
    worst = max(loss, fall)
    allowed = set(_MONEY) if worst * _SURE >= 1.0 else set()
    if must is not None:
        allowed.add(must)
    money = f"loss {loss:.2f} and fall {fall:.2f} of their limits"
    if kill is None:
        if must is not None:
            found.append(f"{must.value} did not fire")
        if worst >= _SURE:
            found.append(f"no limit of money fired: {money}")
    elif kill.trigger not in {trip.value for trip in allowed}:
        found.append(f"{kill.trigger} fired and should not have: {kill.text}; {money}")
    if stage.latched != ([] if kill is None else [kill]):
        found.append(f"latched {stage.latched}, ended by {kill}")
    return found
