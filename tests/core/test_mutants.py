"""
Every term of the quote, broken by rule at each border, is found within a minute of mattering.

The sessions are those of `driven`; the vitals are silent in them while nothing is broken. A mutant
that no formula accepts stops the engine at once, which is found soonest of all.
"""

from __future__ import annotations

import pytest

from core.driven import END_S, Driven
from core.mutants import (
    LATE_S,
    NOT_READ,
    Border,
    Change,
    Mutant,
    fields,
    plant,
    session_before,
    session_for,
)
from mmbot.core.types import NS_PER_S
from support import IS_THOROUGH, often

WITHIN_S = 60.0

REFUSED = frozenset(
    {
        "view:vol_bps_rt_s:flip",
        "view:a_per_s:zero",
        "view:a_per_s:flip",
        "view:k_per_bp:zero",
        "view:k_per_bp:flip",
    }
)
"""Figures that the theory has no quote for: the quoter raises instead of making one up."""

IN_TURN = (Change.TENTH, Change.FROZEN, Change.LATE)

CASES = [(border, field) for border in Border for field in fields(border)]


def violated(driven: Driven) -> bool:
    return bool(driven.watch.violations)


def orders(driven: Driven) -> list[tuple[object, ...]]:
    """What left the engine."""
    return [(each.cancels, each.moves, each.places) for each in driven.rig.batches]


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("seed", range(1, 1 + often(1, thoroughly=3)))
def test_the_sessions_are_healthy_without_a_mutant(seed: int, is_mirrored: bool) -> None:
    """Otherwise whatever a mutant is caught by proves nothing."""
    driven = Driven(seed, is_mirrored=is_mirrored)

    driven.run()

    assert [each.text for each in driven.watch.violations] == []


@pytest.mark.parametrize(("border", "field"), CASES, ids=[f"{b.name}-{f}" for b, f in CASES])
def test_a_mutant_is_caught_within_a_minute_of_mattering(border: Border, field: str) -> None:
    """
    Each change of the field in turn: zeroed, sign flipped, a tenth, frozen, a minute late.

    Of the last three one a field, another for the next, unless all are asked for: the session of a
    change that is seen late is long.
    """
    turn = CASES.index((border, field)) % len(IN_TURN)
    for change in Change if IS_THOROUGH else (Change.ZERO, Change.FLIP, IN_TURN[turn]):
        mutant = Mutant(border, field, change)
        driven = session_before(border, field)
        mutation = plant(driven, mutant)
        if str(mutant) in REFUSED:
            with pytest.raises(ValueError, match="must be"):
                driven.run(END_S, violated)
            continue

        driven.run(END_S, violated)

        assert driven.watch.violations, f"{mutant} was never caught"
        caught_s = (driven.watch.violations[0].at_ns - driven.start_ns) / NS_PER_S
        # A few are seen in the record before they matter to a price; none later than a minute.
        matters_s = mutation.matters_from_s
        assert matters_s is None or caught_s - matters_s <= WITHIN_S, (
            f"{mutant} mattered from {matters_s:.0f} s and was caught at {caught_s:.0f} s"
        )


@pytest.mark.parametrize("field", sorted(NOT_READ))
def test_a_field_that_the_ladder_does_not_read_changes_no_order(field: str) -> None:
    """Why it is not among the mutants of that border: there is nothing to catch."""
    plain, mutated = session_for(field), session_for(field)
    plant(mutated, Mutant(Border.LADDER, field, Change.FLIP))

    plain.run(150.0)
    mutated.run(150.0)

    assert orders(mutated) == orders(plain)
    assert len(orders(plain)) > 20


@pytest.mark.parametrize(
    ("border", "field", "change"),
    [
        (Border.VIEW, "cascade.hold_bid_ticks", Change.LATE),
        (Border.QUOTE, "guard_ask_bps", Change.FROZEN),
        (Border.LADDER, "hold_ask_bps", Change.LATE),
    ],
)
def test_a_mutant_planted_late_is_caught_when_one_from_the_beginning_is(
    border: Border, field: str, change: Change
) -> None:
    """Their sessions begin where the field first acts, since nothing differs before."""
    late, whole = session_before(border, field), session_for(field)
    assert late.at_s > 100.0
    mutations = [plant(driven, Mutant(border, field, change)) for driven in (late, whole)]

    late.run(END_S, violated)
    whole.run(END_S, violated)

    assert late.watch.violations == whole.watch.violations
    assert late.watch.violations
    assert mutations[0].matters_from_s == mutations[1].matters_from_s
    assert len(orders(late)) > 0
    assert orders(whole)[-len(orders(late)) :] == orders(late)


def test_every_term_of_the_quote_has_its_mutants() -> None:
    """A term that is added to the quote must be added here, or nobody watches it."""
    from mmbot.core.quoter import Quote

    unwatched = {
        "fair_ticks",  # the price that all depths are counted from, not a term
        "pulls_bid",
        "pulls_ask",
        "glft_method",
    }
    assert set(fields(Border.QUOTE)) == set(Quote.__struct_fields__) - unwatched


def test_late_means_a_minute_of_the_market() -> None:
    """The rule that makes late mutants, on the fee that changes once."""
    driven = session_for("fee_bps")
    mutation = plant(driven, Mutant(Border.QUOTE, "fee_bps", Change.LATE))

    driven.run(170.0)

    stale = [at_s for at_s, record in driven.records if at_s > 82 and record.fee_bps < 2.0]
    assert mutation.matters_from_s is not None
    assert abs(max(stale) - mutation.matters_from_s - LATE_S) < 2.0
