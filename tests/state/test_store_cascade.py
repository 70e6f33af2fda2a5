"""The memory of sweeps on disk: beside the latch, whole or not at all, from any thread."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mmbot.core.estimators.burst import OwnFill
from mmbot.core.estimators.cascade import Cascade, CascadeMemory, CascadeParams, SideMemory
from mmbot.core.intents import KillReason
from mmbot.core.types import NS_PER_S, Side
from mmbot.errors import InvariantError, StateError
from mmbot.state.store import Store

NOW_NS = 1_700_000_000 * NS_PER_S
SIDE = SideMemory(at_ns=NOW_NS, extra_bps=9.5, hold_ticks=100_105.0, log_odds=3.000000000000001)
MEMORY = CascadeMemory(ask=SIDE)
LOSS = KillReason(
    trigger="session_loss", value=3.01, limit=3.0, unit="usd", text="lost 3.01 of 3.00 USD", at_ns=7
)

VERSION_1 = """
CREATE TABLE kill_latch (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    reason   BLOB NOT NULL
);
CREATE TABLE latch_history (
    at_ns  INTEGER NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('tripped', 'reset')),
    reason BLOB NOT NULL
);
INSERT INTO kill_latch VALUES (1, '{"trigger":"session_loss","value":3.01,"limit":3.0,
  "unit":"usd","text":"lost 3.01 of 3.00 USD","at_ns":7}');
PRAGMA application_id = 1835885172;
PRAGMA user_version = 1;
"""
"""The file as the release before made it, latched."""


def swept() -> Cascade:
    """A cascade whose asks were swept at `NOW_NS`, 9.5 bps deep."""
    it = Cascade(CascadeParams())
    it.on_own_fills(
        NOW_NS,
        NOW_NS // 1_000_000,
        Side.SELL,
        [OwnFill(100_010.0 + depth * 10, 5.0, i, i) for i, depth in enumerate((0, 3, 6, 9.5))],
        resting_lots=50.0,
        touch_ticks=100_010.0,
        fair_ticks=100_000.0,
        k_per_bp=0.5,
    )
    return it


def sql(path: Path, statement: str) -> None:
    """Do to the file what no method of the store does."""
    db = sqlite3.connect(path)
    db.executescript(statement)
    db.close()


def test_a_pullback_survives_the_process_and_has_aged_by_the_clock(tmp_path: Path) -> None:
    """Restarted three minutes after a sweep, the asks are 4.75 bps further, not 0 and not 9.5."""
    path = tmp_path / "state.sqlite"
    before = swept()
    with Store(path) as store:
        store.save_cascade(before.snapshot(), NOW_NS)

    now_ns = NOW_NS + 180 * NS_PER_S
    after = Cascade(CascadeParams())
    with Store(path) as store:
        memory = store.load_cascade()
    assert memory is not None
    after.restore(memory, now_ns)

    assert after.view(now_ns, -0.3, None, None).ask_bps == pytest.approx(4.75, rel=1e-9)
    assert after.view(now_ns, -0.3, 0.7, None) == before.view(now_ns, -0.3, 0.7, None)


def test_nothing_saved_is_nothing_loaded(tmp_path: Path) -> None:
    """The first start is no error, and no memory is made up."""
    with Store(tmp_path / "state.sqlite") as store:
        assert store.load_cascade() is None


def test_every_bit_comes_back_and_the_last_save_counts(tmp_path: Path) -> None:
    """One row: the memory is replaced, never merged."""
    path = tmp_path / "state.sqlite"
    both = CascadeMemory(bid=SIDE, ask=SIDE)
    with Store(path) as store:
        store.save_cascade(both, NOW_NS)
        store.save_cascade(MEMORY, NOW_NS + 1)
    with Store(path) as store:
        assert store.load_cascade() == MEMORY


def test_it_is_on_disk_before_the_call_returns(tmp_path: Path) -> None:
    """Killed right after, without closing, the next process still sees it."""
    path = tmp_path / "state.sqlite"
    store = Store(path)
    store.save_cascade(MEMORY, NOW_NS)

    with Store(path) as other:
        assert other.load_cascade() == MEMORY
    store.close()


def test_latch_and_memory_do_not_touch_each_other(tmp_path: Path) -> None:
    """Saving or clearing one must never release or lose the other."""
    with Store(tmp_path / "state.sqlite") as store:
        store.latch(LOSS)
        store.save_cascade(MEMORY, NOW_NS)
        assert store.latched() == LOSS
        assert store.reset(8) == LOSS
        assert store.load_cascade() == MEMORY
        store.latch(LOSS)
        store.clear_cascade()
        assert store.load_cascade() is None
        assert store.latched() == LOSS


def test_a_latched_file_of_the_release_before_opens_still_latched(tmp_path: Path) -> None:
    """An upgrade that forgot the latch would be the way to release it."""
    path = tmp_path / "state.sqlite"
    sql(path, VERSION_1)

    with Store(path) as store:
        assert store.latched() == LOSS
        assert store.load_cascade() is None
        store.save_cascade(MEMORY, NOW_NS)
    with Store(path) as store:
        assert store.latched() == LOSS
        assert store.load_cascade() == MEMORY


def test_an_upgrade_cut_off_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    """The step fails in the middle: nothing of it stays, and a later start can take it."""
    path = tmp_path / "state.sqlite"
    sql(path, VERSION_1 + "PRAGMA journal_mode = WAL; CREATE TABLE cascade_memory (x);")

    with pytest.raises(StateError, match="cascade_memory"):
        Store(path)

    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (1,)
    assert db.execute("SELECT count(*) FROM kill_latch").fetchone() == (1,)
    db.close()
    sql(path, "DROP TABLE cascade_memory;")
    with Store(path) as store:
        assert store.latched() == LOSS


@pytest.mark.parametrize("version", [0, 7, 99])
def test_a_schema_this_program_does_not_know_is_refused(tmp_path: Path, version: int) -> None:
    """A newer program's file: reading half of it would be guessing."""
    path = tmp_path / "state.sqlite"
    Store(path).close()
    sql(path, f"PRAGMA user_version = {version};")
    with pytest.raises(StateError, match=f"version {version}, this program reads 6"):
        Store(path)


@pytest.mark.parametrize(
    "blob",
    [
        "not json",
        "{}x",
        "[1]",
        '{"bid":null,"ask":{"at_ns":1,"extra_bps":null,"hold_ticks":null,"log_odds":3.0}}',
        '{"bid":null,"ask":{"at_ns":1}}',
        '{"bid":null,"ask":null,"mid":null}',
    ],
)
def test_a_corrupt_row_is_reported_and_left(tmp_path: Path, blob: str) -> None:
    """Not read as "no sweep": the side would come back to the touch in the middle of one."""
    path = tmp_path / "state.sqlite"
    Store(path).close()
    sql(path, f"INSERT INTO cascade_memory VALUES (1, 5, '{blob}');")

    with Store(path) as store:
        with pytest.raises(StateError, match=r"memory of sweeps cannot be read.*left as it is"):
            store.load_cascade()
        assert store.latched() is None
    db = sqlite3.connect(path)
    assert db.execute("SELECT memory FROM cascade_memory").fetchone() == (blob,)
    db.close()


def test_a_lost_table_is_reported(tmp_path: Path) -> None:
    """Somebody tidied up: the answer is an error, not an empty memory."""
    path = tmp_path / "state.sqlite"
    Store(path).close()
    sql(path, "DROP TABLE cascade_memory;")
    with Store(path) as store:
        with pytest.raises(StateError, match="cascade_memory"):
            store.load_cascade()
        with pytest.raises(StateError, match="cascade_memory"):
            store.save_cascade(MEMORY, NOW_NS)
        store.latch(LOSS)
        assert store.latched() == LOSS


@pytest.mark.parametrize(
    "memory",
    [
        CascadeMemory(ask=SideMemory(NOW_NS + 1, 9.5, None, 3.0)),
        CascadeMemory(bid=SideMemory(NOW_NS, float("nan"), None, 3.0)),
        CascadeMemory(bid=SideMemory(NOW_NS, 9.5, -1.0, 3.0)),
    ],
)
def test_a_memory_that_could_not_be_restored_is_not_stored(
    tmp_path: Path, memory: CascadeMemory
) -> None:
    """Our bug, said when it happens, and the last good memory stays."""
    with Store(tmp_path / "state.sqlite") as store:
        store.save_cascade(MEMORY, NOW_NS)
        with pytest.raises(InvariantError, match="impossible cascade memory"):
            store.save_cascade(memory, NOW_NS)
        assert store.load_cascade() == MEMORY


def test_threads_may_save_read_and_latch_at_once(tmp_path: Path) -> None:
    """A latch must not fail because a worker happens to be saving: all calls go through."""
    memories = [
        CascadeMemory(ask=SideMemory(NOW_NS, i / 10, 100_000.0 + i, 3.0)) for i in range(40)
    ]
    with Store(tmp_path / "state.sqlite") as store:
        with ThreadPoolExecutor(max_workers=4) as pool:
            calls = [pool.submit(store.save_cascade, memory, NOW_NS) for memory in memories]
            calls += [pool.submit(store.latch, LOSS) for _ in range(10)]
            reads = [pool.submit(store.load_cascade) for _ in range(40)]
            for call in calls:
                call.result(timeout=120)
            seen = {read.result(timeout=120) for read in reads}
        assert seen <= {None, *memories}
        assert store.load_cascade() in memories
        assert store.latched() == LOSS


def test_a_process_that_dies_in_the_middle_of_a_save_leaves_the_last_one(tmp_path: Path) -> None:
    """The write is one transaction: another connection sees the old row until it is whole."""
    path = tmp_path / "state.sqlite"
    with Store(path) as store:
        store.save_cascade(MEMORY, NOW_NS)
    dying = sqlite3.connect(path, isolation_level=None)
    dying.execute("BEGIN IMMEDIATE")
    dying.execute("DELETE FROM cascade_memory")
    with Store(path) as store:
        assert store.load_cascade() == MEMORY
    dying.close()
    with Store(path) as store:
        assert store.load_cascade() == MEMORY
        store.save_cascade(CascadeMemory(), NOW_NS)
        assert store.load_cascade() == CascadeMemory()
