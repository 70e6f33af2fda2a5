"""Nonces across restarts: a clock that was corrected backwards gets no cancel refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

from mmbot.core.types import NS_PER_MS
from mmbot.hyperliquid.nonce import Nonces
from mmbot.logs import LogWriter, make_logger
from mmbot.runtime.nonces import NonceKeeper, nonces_of
from mmbot.runtime.piped import Records
from mmbot.state.store import Store
from runtime.pipe_rig import PipeRun
from runtime.test_ledger import AtOnce
from runtime.test_order_truth import STILL

NOW_MS = 1_786_000_000_000
DAY_MS = 86_400_000


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


def test_a_clock_that_was_days_ahead_for_a_moment_gets_no_cancel_refused() -> None:
    """Ours never goes back, so the run would sign for the day after tomorrow until it is here."""
    run = PipeRun("demo", sets=("risk.warm_s=0",), market=STILL, has_wall_clock=True)
    run.start()
    run.sim.run_for(15)
    assert run.resting()
    run.set_ns += 2 * DAY_MS * NS_PER_MS
    run.sim.run_for(1)
    run.set_ns = 0
    run.trader.kill("test")
    run.ended()

    assert run.resting() == []
    sent = [(row["body"]["nonce"], row["time"]) for row in run.exchange.requests]
    assert sent
    assert all(-2 * DAY_MS < nonce - at_ms < DAY_MS for nonce, at_ms in sent)


def test_what_a_sweep_gave_out_before_the_run_is_kept_though_the_run_gives_out_none(
    tmp_path: Path,
) -> None:
    """Killed before its first order, the next one would begin below it."""

    async def start() -> None:
        nonces = Nonces()
        nonces.next(NOW_MS)
        keeper = NonceKeeper(
            nonces, store, AtOnce(), make_logger(cast("LogWriter", Records()), lambda: 0)
        )
        keeper.start()
        keeper.end()

    with Store(tmp_path / "s.sqlite") as store:
        asyncio.run(start())
        assert store.nonce_ms() == NOW_MS


def test_a_start_that_gives_out_nothing_does_not_raise_the_mark(tmp_path: Path) -> None:
    """A service that is started again and again would drive it away from the clock."""
    state = tmp_path / "s.sqlite"

    async def start() -> None:
        log = make_logger(cast("LogWriter", Records()), lambda: 0)
        keeper = NonceKeeper(nonces_of(state), store, AtOnce(), log)
        keeper.start()
        keeper.end()

    with Store(state) as store:
        store.save_nonce(NOW_MS)
        asyncio.run(start())
        assert store.nonce_ms() == NOW_MS
