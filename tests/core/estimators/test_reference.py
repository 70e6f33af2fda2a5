"""The lead of another market: bounded, forgotten, absent when old."""

from __future__ import annotations

import pytest

from mmbot.core.estimators.reference import Reference
from mmbot.core.types import NS_PER_MS, NS_PER_S


def reference() -> Reference:
    return Reference(bps_max=5.0, stale_s=1.0, half_life_s=300.0)


def test_a_constant_premium_shifts_nothing() -> None:
    """Another market may be dear for ever; only a change of that is a lead."""
    it = reference()
    for i in range(100):
        it.observe(26.4, i * NS_PER_S, i * 1000, 26.2)
        assert it.shift_bps(26.2, i * NS_PER_S) == pytest.approx(0.0, abs=1e-9)


def test_a_lead_is_bounded_and_has_its_sign() -> None:
    """Up is positive; five bps either way at most."""
    it = reference()
    it.observe(26.2, 0, 0, 26.2)
    it.observe(26.2 * (1 + 2e-4), 1, 1, 26.2)
    assert it.shift_bps(26.2, 1) == pytest.approx(2.0, abs=1e-3)
    it.observe(26.2 * (1 - 50e-4), 2, 2, 26.2)
    assert it.shift_bps(26.2, 2) == -5.0


def test_a_lead_that_stays_becomes_premium() -> None:
    """After one half-life half of it is left."""
    it = reference()
    it.observe(26.2, 0, 0, 26.2)
    for i in range(1, 301):
        it.observe(26.2 * (1 + 4e-4), i * NS_PER_S, i * 1000, 26.2)
    assert it.shift_bps(26.2, 300 * NS_PER_S) == pytest.approx(2.0, abs=0.02)


@pytest.mark.parametrize("scale", [1e-3, 0.5, 1000.0])
def test_a_price_of_another_size_leads_by_as_much(scale: float) -> None:
    """Another coin, or a thousand of ours to the contract: a bps of it is a bps."""
    it = reference()
    it.observe(26.2 * scale, 0, 0, 26.2)
    it.observe(26.2 * scale * (1 + 2e-4), 1, 1, 26.2)
    assert it.shift_bps(26.2, 1) == pytest.approx(2.0, abs=1e-3)


def test_an_old_or_missing_price_is_absent_not_zero() -> None:
    """Older than a second is None, to be reported as absent."""
    it = reference()
    assert it.shift_bps(26.2, 0) is None
    it.observe(26.2, 0, 0, 26.2)
    assert it.shift_bps(26.2, NS_PER_S) == 0.0
    assert it.shift_bps(26.2, NS_PER_S + 1) is None
    expires = it.expires_at_ns()
    assert expires is not None
    assert it.shift_bps(26.2, expires) is None
    assert it.shift_bps(26.2, expires - 1) is not None


def test_prices_out_of_order_and_nonsense_change_nothing() -> None:
    """An older venue time, zero, a negative number and infinity are ignored."""
    it = reference()
    it.observe(26.2, 5 * NS_PER_MS, 5, 26.2)
    for px, ms in ((27.0, 4), (0.0, 6), (-1.0, 6), (float("inf"), 6), (float("nan"), 6)):
        it.observe(px, 6 * NS_PER_MS, ms, 26.2)
        assert it.px == 26.2
