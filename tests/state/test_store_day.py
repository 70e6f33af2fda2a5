"""The account of the day: stored whole, read as it was, never guessed."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from mmbot.core.intents import KillReason
from mmbot.core.risk import Day
from mmbot.errors import StateError
from mmbot.state.store import Store

DAY = Day(20_000, 100.0, -1.25)


def test_the_day_survives_and_the_newest_counts(tmp_path: Path) -> None:
    """A restart goes on where the last run stood; the latch is another matter."""
    path = tmp_path / "state.sqlite"
    with Store(path) as store:
        assert store.load_day() is None
        store.save_day(Day(19_999, 90.0, 3.0), 1)
        store.save_day(DAY, 2)
        store.latch(KillReason("operator", 1.0, 1.0, "command", "test", 3, is_flatten=True))
    with Store(path) as store:
        assert store.load_day() == DAY
        latched = store.latched()
        assert latched is not None
        assert latched.is_flatten
        store.reset(4)
        assert store.load_day() == DAY, "a reset of the switch is no new day"


def test_a_file_of_the_version_before_is_brought_up_to_date(tmp_path: Path) -> None:
    """With its latch and its memory, and a reason that knew nothing of flattening."""
    path = tmp_path / "state.sqlite"
    Store(path).close()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("DROP TABLE day_account")
    db.execute("DROP TABLE fills")
    db.execute("DROP TABLE nonce_mark")
    db.execute("DROP TABLE ledger_began")
    blob = b'{"trigger":"drawdown","value":3,"limit":3,"unit":"USD","text":"t","at_ns":7}'
    db.execute("INSERT INTO kill_latch VALUES (1, ?)", (blob,))
    db.execute("PRAGMA user_version = 2")
    db.close()
    with Store(path) as store:
        latched = store.latched()
        assert latched is not None
        assert (latched.trigger, latched.is_flatten) == ("drawdown", False)
        assert store.load_day() is None
        store.save_day(DAY, 1)
        assert store.load_day() == DAY


@pytest.mark.parametrize("blob", ["not json", '{"number":1}', '{"number":"x","base_usd":1}'])
def test_a_day_that_cannot_be_read_refuses_the_start(tmp_path: Path, blob: str) -> None:
    """What was lost today is then not known, which is no nothing."""
    path = tmp_path / "state.sqlite"
    Store(path).close()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("INSERT INTO day_account VALUES (1, 0, ?)", (blob,))
    db.close()
    with Store(path) as store, pytest.raises(StateError, match="account of the day"):
        store.load_day()


def test_a_store_whose_latch_failed_says_so_of_the_day_too(tmp_path: Path) -> None:
    """Its connection is closed by then; that must be an error of the store and no other."""
    folder = tmp_path / "state"
    store = Store(folder / "state.sqlite")
    shutil.rmtree(folder)
    folder.write_text("no folder")
    with pytest.raises(StateError):
        store.latch(KillReason("operator", 1.0, 1.0, "command", "test", 3))
    with pytest.raises(StateError):
        store.save_day(DAY, 1)
