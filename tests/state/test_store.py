"""The kill latch on disk: it stays, and a file that is not ours is never touched."""

from __future__ import annotations

import resource
import shutil
import sqlite3
from math import inf, isfinite, nan
from pathlib import Path

import msgspec
import pytest

from mmbot.core.intents import KillReason
from mmbot.errors import StateError
from mmbot.state.store import Store, store_path

LOSS = KillReason(
    trigger="session_loss", value=3.01, limit=3.0, unit="usd", text="lost 3.01 of 3.00 USD", at_ns=7
)
DRAWDOWN = KillReason(
    trigger="drawdown", value=0.04, limit=0.03, unit="fraction", text="drawdown", at_ns=9
)


def test_a_latch_survives_the_process(tmp_path: Path) -> None:
    """A restart must find the switch as it was left."""
    path = tmp_path / "state.sqlite"
    with Store(path) as store:
        store.latch(LOSS)

    with Store(path) as store:
        assert store.latched() == LOSS


def test_the_first_reason_stays_until_a_reset(tmp_path: Path) -> None:
    """A second trigger during the cancel must not hide what started it."""
    with Store(tmp_path / "state.sqlite") as store:
        store.latch(LOSS)
        store.latch(DRAWDOWN)

        assert store.reset(10) == LOSS
        assert store.latched() is None
        assert store.reset(11) is None


def test_a_latch_is_on_disk_before_the_call_returns(tmp_path: Path) -> None:
    """Killed right after, without closing, the next process still sees it."""
    path = tmp_path / "state.sqlite"
    store = Store(path)
    store.latch(LOSS)

    with Store(path) as other:
        assert other.latched() == LOSS
    store.close()


def test_a_kill_while_the_file_is_made_leaves_nothing_behind_that_blocks(tmp_path: Path) -> None:
    """A half-made file beside the place is replaced; the place itself never holds one."""
    path = tmp_path / "state.sqlite"
    path.with_name("state.sqlite.new").write_bytes(b"half")

    with Store(path) as store:
        assert store.latched() is None


@pytest.mark.parametrize("content", [b"not a database at all, just text" * 40, b"", b"SQLite"])
def test_a_foreign_file_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    """Overwriting it could erase a latch that a person relies on."""
    path = tmp_path / "state.sqlite"
    path.write_bytes(content)

    with pytest.raises(StateError, match="left as it is"):
        Store(path)

    assert path.read_bytes() == content


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """It opens as SQLite, but it is not ours to write into."""
    path = tmp_path / "state.sqlite"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE other (x)")
    db.commit()
    db.close()
    before = path.read_bytes()

    with pytest.raises(StateError, match="not made by mmbot"):
        Store(path)

    assert path.read_bytes() == before


def test_a_damaged_file_of_ours_is_refused(tmp_path: Path) -> None:
    """Damage is reported by name, not read as "no latch"."""
    path = tmp_path / "state.sqlite"
    with Store(path) as store:
        store.latch(LOSS)
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    path.write_bytes(content)

    with pytest.raises(StateError, match="cannot use the safety state"), Store(path) as store:
        store.latched()


def test_damaged_text_is_damage_too(tmp_path: Path) -> None:
    """The library quotes it in a message that cannot be decoded, and raises for that instead."""
    path = tmp_path / "state.sqlite"
    with Store(path) as store:
        store.latch(LOSS)
    content = bytearray(path.read_bytes())
    at = content.index(b"CHECK (only_row", content.index(b"CREATE TABLE kill_latch"))
    content[at + 11] = 0xFC
    path.write_bytes(content)

    with pytest.raises(StateError, match="cannot use the safety state"), Store(path) as store:
        store.latched()


def test_a_directory_in_its_place_is_reported(tmp_path: Path) -> None:
    """The message names the path."""
    (tmp_path / "state.sqlite").mkdir()

    with pytest.raises(StateError, match=r"state\.sqlite"):
        Store(tmp_path / "state.sqlite")


def test_accounts_and_instruments_have_files_of_their_own(tmp_path: Path) -> None:
    """One latched market must not stop another; a colon is no file name."""
    one = store_path(tmp_path, "testnet", "0xAB", "hyna:HYPE")

    assert one != store_path(tmp_path, "testnet", "0xAB", "HYPE")
    assert one != store_path(tmp_path, "live", "0xAB", "hyna:HYPE")
    assert one == store_path(tmp_path, "testnet", "0xab", "hyna:HYPE")
    assert ":" not in one.name


@pytest.mark.parametrize("what", ["the folder", "the file", "another file in its place"])
def test_a_latch_survives_the_removal_of_its_file(tmp_path: Path, what: str) -> None:
    """SQLite would write to a file without a name: latched for nobody, and nobody told."""
    path = tmp_path / "state" / "x.sqlite"
    other = tmp_path / "other.sqlite"
    Store(other).close()
    with Store(path) as store:
        store.save_nonce(7)
        if what == "the folder":
            shutil.rmtree(path.parent)
        elif what == "the file":
            path.unlink()
        else:
            other.replace(path)
        store.latch(LOSS)

    with Store(path) as store:
        assert store.latched() == LOSS
        assert store.nonce_ms() == 0, "of the file that went"


@pytest.mark.parametrize("how", ["moved", "removed"])
@pytest.mark.parametrize("left", [("-wal", "-shm"), ("-wal",)], ids=" ".join)
def test_what_is_left_of_a_file_is_not_written_into_a_new_one(
    tmp_path: Path, how: str, left: tuple[str, ...]
) -> None:
    """
    SQLite replays a log into whatever file bears the name, and would open a latched state unlatched
    or a fresh one damaged; the person who moved one file of three is told of the other two.
    """
    path = tmp_path / "x.sqlite"
    holder = Store(path)
    holder.latch(LOSS)
    names = [path, *(path.with_name(path.name + end) for end in left)]
    held = {name: name.read_bytes() for name in names}
    holder.close()
    for name, content in held.items():
        name.write_bytes(content)
    path.rename(tmp_path / "aside") if how == "moved" else path.unlink()

    for _ in range(2):
        with pytest.raises(StateError) as caught:
            Store(path)
        text = str(caught.value)
        assert all(f"{path}{end}" in text for end in ("", "-wal", "-shm"))
        assert "Put it back" in text
        assert "move these away as well" in text
    assert not path.exists()
    assert all(name.read_bytes() == held[name] for name in names[1:])
    path.write_bytes(held[path])
    with Store(path) as store:
        assert store.latched() == LOSS


def test_a_latch_that_has_no_place_any_more_is_an_error(tmp_path: Path) -> None:
    """Said, not swallowed: only a person can keep the next run from starting."""
    folder = tmp_path / "state"
    with Store(folder / "x.sqlite") as store:
        shutil.rmtree(folder)
        folder.write_text("a file where the folder was")
        with pytest.raises(StateError, match="cannot use the safety state"):
            store.latch(LOSS)


def test_a_latch_from_another_process_is_seen_also_in_a_file_that_is_new(tmp_path: Path) -> None:
    """`mmbot kill` reaches a daemon whose state was moved away under it."""
    path = tmp_path / "state.sqlite"
    with Store(path) as held:
        assert held.peek() is None
        with Store(path) as other:
            other.latch(LOSS)
        assert held.peek() == LOSS
        for file in tmp_path.iterdir():
            file.unlink()
        with Store(path) as other:
            assert held.peek() is None
            other.latch(LOSS)
        assert held.peek() == LOSS


def test_a_file_replaced_by_rubbish_is_an_error_each_time_and_no_crash(tmp_path: Path) -> None:
    """Found at a heartbeat, it must not end the run whose switch trips later; mended, it serves."""
    path = tmp_path / "state.sqlite"
    with Store(path) as store:
        for file in tmp_path.iterdir():
            file.unlink()
        path.write_bytes(b"rubbish" * 999)
        for _ in range(2):
            with pytest.raises(StateError, match="file is not a database"):
                store.peek()
        with pytest.raises(StateError, match="file is not a database"):
            store.latch(LOSS)
        with pytest.raises(StateError, match="safety state"):
            store.latched()
        path.unlink()
        store.latch(LOSS)
        assert store.peek() == LOSS


@pytest.mark.parametrize("value", [inf, -inf, nan])
def test_a_figure_without_bound_can_be_latched_read_and_reset(tmp_path: Path, value: float) -> None:
    """A share of an equity of exactly nothing: it has tripped, and a person must see why."""
    path = tmp_path / "state.sqlite"
    with Store(path) as store:
        store.latch(msgspec.structs.replace(LOSS, value=value))

    with Store(path) as store:
        latched = store.latched()
        assert latched is not None
        assert isfinite(latched.value)
        assert (latched.value > 0) == (value != -inf)
        assert store.reset(10) == latched
        assert store.latched() is None


def test_a_latch_that_an_older_program_wrote_with_null_can_be_reset(tmp_path: Path) -> None:
    """It is on disk already, and nothing but removing the file would help."""
    path = tmp_path / "state.sqlite"
    with Store(path) as store:
        blob = msgspec.json.encode(msgspec.structs.asdict(LOSS) | {"value": None})
        store._db.execute("INSERT INTO kill_latch VALUES (1, ?)", (blob,))
        reason = store.reset(10)
        assert reason is not None
        assert (reason.trigger, reason.value > 1e100) == ("session_loss", True)
        assert store.latched() is None


def test_what_breaks_inside_a_write_leaves_no_transaction_open(tmp_path: Path) -> None:
    """The next write may be the latch."""
    path = tmp_path / "state.sqlite"
    with Store(path) as store:
        with pytest.raises(OverflowError):
            store.save_nonce(1 << 70)
        store.latch(LOSS)

        with Store(path) as other:
            assert other.latched() == LOSS


def test_a_nonce_of_a_clock_gone_wrong_does_not_stay_the_highest(tmp_path: Path) -> None:
    """It would hide for days what is really given out."""
    now_ms, day_ms = 1_786_000_000_000, 86_400_000
    with Store(tmp_path / "state.sqlite") as store:
        store.save_nonce(now_ms + 3 * day_ms)
        store.save_nonce(now_ms)
        assert store.nonce_ms() == now_ms
        store.save_nonce(now_ms - day_ms // 2)
        assert store.nonce_ms() == now_ms


def test_a_disk_without_room_is_named_with_what_to_do(tmp_path: Path) -> None:
    """The file is whole: whoever moved it away would lose the latch."""
    with Store(tmp_path / "state.sqlite") as store:
        (pages,) = store._db.execute("PRAGMA page_count").fetchone()
        store._db.execute(f"PRAGMA max_page_count = {pages}")
        wide = msgspec.structs.replace(LOSS, text="x" * 100_000)
        with pytest.raises(StateError, match=r"is full, or its quota.*make room there") as raised:
            store.latch(wide)
    assert "not to be moved away" in str(raised.value)


def test_a_store_that_a_disk_lets_nobody_open_says_that_it_may_be_full(tmp_path: Path) -> None:
    """SQLite calls it a disk I/O error when it cannot make its index of what was written."""
    path = tmp_path / "state.sqlite"
    Store(path).close()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(StateError) as raised:
            Store(path).close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "disk I/O error: the disk may be full or failing" in str(raised.value)
    assert "make room there" in str(raised.value)
