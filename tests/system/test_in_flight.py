"""A run killed with a placement on its way: whatever follows at once finds it when it lands."""

from __future__ import annotations

import select
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from system.harness import PATIENCE_S, STILL, Exchange, daemon, exchange, start

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
LATE = "--latency-ms=1000"
"""Time to stop the exchange before a placement has arrived."""
LANDS_S = 8
LANDS = f"gateway.expires_after_s={LANDS_S}"
"""How long it may take to arrive: longer than a start does, on any machine."""


def placements(venue: Exchange) -> list[dict[str, Any]]:
    """Actions that place orders, as the venue received them."""
    rows: list[dict[str, Any]] = venue.read("requests")["requests"]
    return [row for row in rows if row["body"]["action"]["type"] == "order"]


def wait_until(what: str, venue: Exchange, count: int, *, is_executed: bool) -> None:
    """Until so many placements were received, or carried out."""
    until = monotonic() + PATIENCE_S
    while monotonic() < until:
        rows = placements(venue)
        if sum("executed" in row or not is_executed for row in rows) >= count:
            return
        select.select([], [], [], 0.02)
    raise AssertionError(what)


def kill_in_flight(venue: Exchange, here: Path, sets: list[str]) -> set[str]:
    """Kill a run whose first orders have left, and keep them from arriving: their cloids."""
    with daemon(here / "first", config=CONFIG, sets=sets) as bot:
        wait_until("a placement", venue, 1, is_executed=False)
        venue.control("faults", is_halted=True)
        bot.process.kill()
        bot.process.wait()
    sent = placements(venue)
    assert not any("executed" in row for row in sent), "nothing has arrived yet"
    assert venue.resting() == []
    return {order["c"] for row in sent for order in row["body"]["action"]["orders"]}


def looks(venue: Exchange) -> int:
    """How often the venue was asked what rests."""
    return int(venue.read("status")["asked"].get("openOrders", 0))


def land_after_a_look(venue: Exchange, looked: int) -> None:
    """What is on its way arrives as soon as somebody else has seen that nothing rests."""
    until = monotonic() + LANDS_S - 1
    while looks(venue) == looked:
        assert monotonic() < until, "nobody looked before it expired"
        select.select([], [], [], 0.02)
    venue.control("faults", is_halted=False)


@pytest.fixture
def sets(tmp_path: Path) -> list[str]:
    return [f"state_dir={tmp_path / 'state'}", LANDS]


def test_flatten_waits_for_what_is_on_its_way(tmp_path: Path, sets: list[str]) -> None:
    """It says that nothing rests any more, and whoever closes a position relies on that."""
    with exchange(LATE, sets=STILL) as venue:
        sets = [*sets, f"emulator.url={venue.url}"]
        kill_in_flight(venue, tmp_path, sets)
        looked = looks(venue)
        process = start("flatten", f"--config={CONFIG}", *(f"--set={item}" for item in sets))
        land_after_a_look(venue, looked)
        wait_until("landing", venue, len(placements(venue)), is_executed=True)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, err) == (0, "")
        assert venue.resting() == []
        assert "0 of ours cancelled" not in out


def test_the_next_run_cancels_what_lands_after_it_has_begun(
    tmp_path: Path, sets: list[str]
) -> None:
    """Otherwise nobody knows of those orders, and the first one to fill trips the switch."""
    with exchange(LATE, sets=STILL) as venue:
        sets = [*sets, f"emulator.url={venue.url}", "risk.warm_s=0"]
        old = kill_in_flight(venue, tmp_path, sets)
        looked = looks(venue)
        began = len(placements(venue))
        with daemon(tmp_path / "second", config=CONFIG, sets=sets) as bot:
            land_after_a_look(venue, looked)
            wait_until("the next run's own", venue, began + 1, is_executed=True)
            resting = {row["cloid"] for row in venue.resting()}
            px = 0.9 * float(venue.read("book?coin=HYPE")["levels"][0][0]["px"])
            venue.control("trade", coin="HYPE", side="A", px=round(px, 3), sz=1e6)
            bot.wait_event("fill.booked")
            code, _, err = bot.stop()
        actions = venue.actions()
        cancelled = [
            n
            for n, action in enumerate(actions)
            if {row.get("cloid") for row in action.get("cancels", ())} & old
        ]
        second = [n for n, action in enumerate(actions) if action["type"] == "updateLeverage"][1]
        assert cancelled, "it landed"
        assert max(cancelled) < second, "before anything else leaves"
        assert resting, "the next run quotes"
        assert not resting & old
        assert (code, err) == (0, "")
        assert bot.summary()["kill"] is None
        assert venue.resting() == []
