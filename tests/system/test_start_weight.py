"""What a start and an end ask of the venue, counted there."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from system.harness import STILL, daemon, exchange

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
ASKED: Final = {
    # The perp, and what an earlier run may have left of it.
    "meta": 1,
    # Before the first cancel of leftovers, after the connection, and at the end.
    "openOrders": 3,
    "clearinghouseState": 3,
    "userFills": 1,
    # The checks before a run.
    "userRole": 1,
    "userAbstraction": 1,
    "userFees": 1,
    "userRateLimit": 1,
    "metaAndAssetCtxs": 1,
    "perpsAtOpenInterestCap": 1,
    "exchangeStatus": 1,
    "candleSnapshot": 1,
    # Whether the venue has taken the leverage.
    "activeAssetData": 1,
}
WEIGHT_MAX: Final = 330
"""It is 314: 308 of readings, and one for each action."""

ACTIONS: Final = 10
"""Orders that may have been sent between the reading and our look."""
SPARE: Final = 120
"""What the longest answers would weigh more than those of a new account."""


def test_a_start_and_an_end_weigh_little_enough_for_three_within_a_minute(tmp_path: Path) -> None:
    """
    A third start within a minute met 429 and waited for the venue's minute to pass.

    Three times the bound leave a sixth of the 1200 for what runs read on their timers.
    """
    with exchange(sets=STILL) as venue:
        # What is read on a timer later on is no part of a start.
        later = ["kill.check_s=120", "premises.check_s=600"]
        sets = [f"emulator.url={venue.url}", f"state_dir={tmp_path / 'state'}", *later]
        with daemon(tmp_path / "run", config=CONFIG, sets=sets) as bot:
            bot.wait_event("quote.moved")
            by_then = sum(venue.read("status")["weights"].values())
            code, _, err = bot.stop()
        seen = venue.read("status")

    assert (code, err) == (0, "")
    assert bot.summary()["resting_orders"] == 0
    asked = dict(seen["asked"])
    # One reading sees that nothing rests; where it trails the cancels there are others.
    again = asked["openOrders"] - ASKED["openOrders"]
    assert again in (0, 1, 2)
    asked["openOrders"] -= again
    asked["clearinghouseState"] -= again
    assert asked == ASKED
    (weight,) = seen["weights"].values()
    # The run begins with all of it in its own count, and counts no answer for less than it weighs.
    (first,) = [r for r in bot.records() if r["event"] == "snapshot.read"]
    assert by_then - ACTIONS <= first["ip_weight"] <= by_then + SPARE
    assert 300 < weight - 22 * again <= WEIGHT_MAX
