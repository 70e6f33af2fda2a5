"""The order table in any weather: what may rest is never more than what it says."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.venue_model import VenueModel, Weather
from mmbot.core.types import Side
from support import often

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["place", "move", "cancel", "trade", "trade", "read", "ask", "wait"]),
        st.integers(0, 999),
    ),
    min_size=1,
    max_size=40,
)
STORM = settings(
    max_examples=often(100, thoroughly=300),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)


def play(venue: VenueModel, steps: list[tuple[str, int]]) -> None:
    """Take the steps, each a moment after the one before; the venue checks after each event."""
    for name, n in steps:
        side = Side.BUY if n % 2 else Side.SELL
        if name == "place":
            venue.place(side, 1 + n % 50)
        elif name == "move":
            venue.move(1 + n % 60)
        elif name == "cancel":
            venue.cancel()
        elif name == "trade":
            venue.trade(1.0 if n % 3 == 0 else n / 1000)
        elif name == "read":
            venue.read(is_full=bool(n % 4))
        elif name == "ask":
            venue.ask()
        venue.check()
        venue.run((5, 40, 300, 1200)[n % 4])


@STORM
@given(STEPS, st.integers(0, 2**32), st.booleans())
def test_more_never_rests_than_the_table_says_whatever_is_late_lost_or_doubled(
    steps: list[tuple[str, int]], seed: int, is_claiming: bool
) -> None:
    """
    At every moment, and with the position everything that could still come of it; and one reading
    in the calm afterwards makes the table the venue's.
    """
    venue = VenueModel(seed, Weather(is_claiming=is_claiming))
    play(venue, steps)
    venue.calm()
    venue.weather = Weather(lag_ms=0, lost=0.0, twice=0.0)
    venue.read()
    venue.calm(3)
    assert venue.agrees()


@STORM
@given(STEPS, st.integers(0, 2**32))
def test_when_nothing_is_lost_the_table_ends_as_the_venues_without_a_reading(
    steps: list[tuple[str, int]], seed: int
) -> None:
    """Late, doubled and out of order, but all there."""
    venue = VenueModel(seed, Weather(lost=0.0))
    play(venue, [(name, n) for name, n in steps if name != "read"])
    venue.calm()
    assert venue.agrees()
