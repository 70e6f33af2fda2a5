"""The ledger of fills: what the venue told is in the file once, whoever was there to book it."""

from __future__ import annotations

import sqlite3
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from mmbot.core.events import Fill
from mmbot.core.types import NS_PER_MS, Instrument, Side
from mmbot.logs import LogWriter, make_logger
from mmbot.runtime.cloids import CLOID_MAGIC
from mmbot.runtime.ledger import Ledger
from mmbot.runtime.piped import Records
from mmbot.state.store import Store

HYPE = Instrument(coin="HYPE", asset_id=159, sz_decimals=2, max_leverage=10)
NOW_MS = 1_786_000_000_000


class AtOnce(Executor):
    """A pool that does the work when it is asked."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - as a pool keeps whatever its work raises
            done.set_exception(error)
        return done


def fill(
    tid: int, after_ms: int, side: Side = Side.BUY, *, lots: int = 100, start: int = 0
) -> Fill:
    """A fill so many ms after the start of the second run."""
    return Fill(
        NOW_MS * NS_PER_MS, NOW_MS + after_ms, tid, 7, 5, side, round(HYPE.ticks(30.5)), lots,
        0.01, 0.0, start, is_taker=False,
    )  # fmt: skip


def run(path: Path, now_ms: int) -> tuple[Ledger, Store, Records]:
    """A run that begins then."""
    records = Records()
    store = Store(path)
    clock = lambda: now_ms * NS_PER_MS  # noqa: E731
    log = make_logger(cast("LogWriter", records), clock, "info")
    return Ledger(store, AtOnce(), HYPE, log, now_ms * NS_PER_MS), store, records


def test_a_fill_that_is_told_again_and_again_is_in_the_ledger_once(tmp_path: Path) -> None:
    """By stream, by the history of a reconnect, by a reading; another moment is another fill."""
    ledger, store, records = run(tmp_path / "s.sqlite", NOW_MS)
    one, two = fill(1, 5), fill(2, 9, Side.SELL, lots=40, start=100)
    ledger.take([one])
    ledger.take([one, two, msgspec.structs.replace(one, is_snapshot=True)])
    ledger.take([msgspec.structs.replace(two, venue_ms=NOW_MS + 10)])
    totals = store.ledger()

    assert totals is not None
    assert (totals.fills, totals.first_ms, totals.last_ms) == (3, NOW_MS + 5, NOW_MS + 10)
    assert totals.volume_usd == pytest.approx(30.5 * (1.0 + 0.4 + 0.4))
    assert totals.fees_usd == pytest.approx(0.03)
    assert totals.position_sz == pytest.approx(0.6)
    assert not records.named("ledger.caught_up")


def test_the_next_run_finds_what_came_while_no_daemon_ran_and_says_so(tmp_path: Path) -> None:
    """And a history from before the first of them all is not taken for ours."""
    path = tmp_path / "s.sqlite"
    ledger, store, _ = run(path, NOW_MS - 60_000)
    ledger.take([fill(9, -3_600_000), fill(1, -50_000)])
    store.close()
    ledger, store, records = run(path, NOW_MS)
    history = [fill(9, -3_600_000), fill(1, -50_000), fill(2, -20_000, Side.SELL, lots=30)]
    ledger.take([*history, fill(3, 4)])
    totals = store.ledger()

    assert totals is not None
    assert totals.fills == 3
    (said,) = records.named("ledger.caught_up")
    assert (said["fills"], said["net_sz"]) == (1, pytest.approx(-0.3))


def test_a_first_run_that_died_before_it_stored_a_fill_loses_none(tmp_path: Path) -> None:
    """What it traded is told by the next one's history; what is older than it is not ours."""
    path = tmp_path / "s.sqlite"
    first, store, _ = run(path, NOW_MS - 60_000)
    assert first.last_ms is None
    store.close()
    ledger, store, records = run(path, NOW_MS)
    assert ledger.last_ms == NOW_MS - 60_000
    ledger.take([fill(9, -60_001), fill(1, -50_000), fill(2, -20_000, Side.SELL, lots=30)])
    totals = store.ledger()

    assert totals is not None
    assert (totals.fills, totals.first_ms) == (2, NOW_MS - 50_000)
    (said,) = records.named("ledger.caught_up")
    assert said["fills"] == 2


def test_a_ledger_of_an_older_program_began_with_its_first_fill(tmp_path: Path) -> None:
    """A file that did not keep its begin yet says no later one."""
    path = tmp_path / "s.sqlite"
    first, store, _ = run(path, NOW_MS - 60_000)
    first.take([fill(1, -50_000)])
    store.close()
    db = sqlite3.connect(path)
    db.executescript("DROP TABLE ledger_began; PRAGMA user_version = 5")
    db.close()
    _, store, _ = run(path, NOW_MS)
    assert store.begin_ledger(NOW_MS) == NOW_MS - 50_000


def test_a_ledger_that_cannot_be_written_is_said_and_ends_nothing(tmp_path: Path) -> None:
    """The venue has its own books: a run goes on, and a person hears of it."""
    ledger, store, records = run(tmp_path / "s.sqlite", NOW_MS)
    store.close()
    ledger.take([fill(1, 5)])

    (said,) = records.named("ledger.not_stored")
    assert "s.sqlite" in said["error"]


def test_what_was_held_after_the_last_fill_of_a_block_does_not_hang_on_its_number(
    tmp_path: Path,
) -> None:
    """Trade ids are no count, and a reading may bring the first fills of a block after the last."""
    ledger, store, _ = run(tmp_path / "s.sqlite", NOW_MS)
    first, second, third = (
        fill(90, 5, lots=10, start=40),
        fill(7, 5, lots=20, start=50),
        fill(50, 5, Side.SELL, lots=45, start=70),
    )
    ledger.take([third])
    ledger.take([fill(1, 1, lots=40), first, second])
    totals = store.ledger()

    assert totals is not None
    assert totals.position_sz == pytest.approx(0.25)


def test_a_block_that_ends_where_it_began_is_told_by_its_newest_row(tmp_path: Path) -> None:
    """Nothing else says which of its positions was the last."""
    ledger, store, _ = run(tmp_path / "s.sqlite", NOW_MS)
    ledger.take([fill(90, 5, lots=10, start=40), fill(7, 5, Side.SELL, lots=10, start=50)])
    totals = store.ledger()

    assert totals is not None
    assert totals.position_sz == pytest.approx(0.40)


def test_a_fill_of_ours_that_is_too_old_for_the_ledger_is_told_once(tmp_path: Path) -> None:
    """What is not stored must not vanish without a word; a stranger's is nobody's business."""
    ledger, store, records = run(tmp_path / "s.sqlite", NOW_MS)
    ours = msgspec.structs.replace(fill(1, -4_000), cloid=CLOID_MAGIC << 112 | 5)
    ledger.take([ours, fill(2, -4_000)])
    ledger.take([ours])

    assert store.ledger() is None
    (said,) = records.named("ledger.dropped")
    assert said["fills"] == 1


def test_a_begin_that_is_still_to_come_is_moved_to_now(tmp_path: Path) -> None:
    """A first run on a clock that was ahead wrote it, and every fill before it would be lost."""
    path = tmp_path / "s.sqlite"
    _, store, _ = run(path, NOW_MS + 60_000)
    store.close()
    ledger, store, _ = run(path, NOW_MS)
    ledger.take([fill(1, 4)])
    totals = store.ledger()

    assert totals is not None
    assert totals.fills == 1
