"""Nonces across restarts: a clock that was corrected backwards gets no cancel refused."""

from __future__ import annotations

from pathlib import Path

from mmbot.hyperliquid.nonce import Nonces
from mmbot.runtime.nonces import nonces_of
from mmbot.state.store import Store

NOW_MS = 1_786_000_000_000


def test_the_next_run_begins_above_what_a_killed_one_may_have_given_out(tmp_path: Path) -> None:
    """It kept its highest some seconds before it died, and its clock may have been ahead."""
    state = tmp_path / "s.sqlite"
    assert nonces_of(state).next(NOW_MS) == NOW_MS, "nothing is known of earlier runs"
    with Store(state) as store:
        store.save_nonce(NOW_MS + 9_000)
        store.save_nonce(NOW_MS + 2_000)
        assert store.nonce_ms() == NOW_MS + 9_000
    first = Nonces(NOW_MS + 9_000)
    died_at = [first.next(NOW_MS + 9_000 + ms) for ms in range(0, 6_000, 7)][-1]

    assert nonces_of(state).next(NOW_MS) > died_at
    assert nonces_of(state).next(NOW_MS + 60_000) == NOW_MS + 60_000, "the clock is ahead again"


def test_a_state_that_cannot_be_read_does_not_keep_anybody_from_cancelling(tmp_path: Path) -> None:
    """Whoever is to trade reads it before, and is told."""
    state = tmp_path / "s.sqlite"
    state.write_bytes(b"no database" * 100)

    assert nonces_of(state).next(NOW_MS) == NOW_MS
