"""
Safety state that outlives the process: one SQLite file per account and instrument.

It holds the kill latch, the memory of sweeps, the account of the day, the ledger of fills and the
highest nonce. The file is WAL, so a process killed at any write leaves the last committed state. A
file that is damaged, or that some other program made, is reported and never overwritten. A file
that is removed under a running program is made again when the switch trips: SQLite would go on
writing to what has no name any more.

Whatever is stored is written and read here, so that one module knows the tables.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from mmbot.core.estimators.cascade import CascadeMemory
from mmbot.core.intents import KillReason
from mmbot.core.risk import Day
from mmbot.errors import InvariantError, StateError
from mmbot.state.ledger import (
    BEGAN_TABLE,
    FILLS_TABLE,
    LedgerFill,
    LedgerTotals,
    held_after,
)

_FAULTS: Final = (sqlite3.Error, UnicodeError)
"""What the library raises where a file is not as it should be: it quotes damaged text in its
messages, which then cannot be decoded."""
_ROOM_BYTES: Final = 1 << 20
"""What SQLite needs beside a file of ours, several times over."""
_APPLICATION_ID: Final = 0x6D6D6274  # "mmbt": SQLite's own place for a program to mark its files
_SCHEMA_VERSION: Final = 6
_CASCADE_TABLE: Final = """
CREATE TABLE cascade_memory (
    only_row    INTEGER PRIMARY KEY CHECK (only_row = 1),
    saved_at_ns INTEGER NOT NULL,
    memory      BLOB NOT NULL
)
"""
_DAY_TABLE: Final = """
CREATE TABLE day_account (
    only_row    INTEGER PRIMARY KEY CHECK (only_row = 1),
    saved_at_ns INTEGER NOT NULL,
    day         BLOB NOT NULL
)
"""
_NONCE_TABLE: Final = """
CREATE TABLE nonce_mark (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    nonce_ms INTEGER NOT NULL
)
"""
_UPGRADES: Final = {
    1: _CASCADE_TABLE,
    2: _DAY_TABLE,
    3: FILLS_TABLE,
    4: _NONCE_TABLE,
    5: BEGAN_TABLE,
}
"""The statement that turns a file of the version before into the next one."""

_KEEP_FILL: Final = "INSERT OR IGNORE INTO fills VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_BEGIN_LEDGER: Final = """
INSERT INTO ledger_began
SELECT 1, MIN(?, COALESCE((SELECT MIN(venue_ms) FROM fills), 9223372036854775807)) WHERE TRUE
ON CONFLICT (only_row) DO UPDATE SET began_ms = MIN(began_ms, excluded.began_ms)
"""
_TOTALS: Final = """
SELECT COUNT(*), MIN(venue_ms), MAX(venue_ms), SUM(px * sz), SUM(fee_usd) FROM fills
"""
_LAST_FILLS: Final = """
SELECT side, sz, position_sz FROM fills
WHERE venue_ms = (SELECT MAX(venue_ms) FROM fills) ORDER BY rowid
"""

_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE kill_latch (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    reason   BLOB NOT NULL
);
CREATE TABLE latch_history (
    at_ns  INTEGER NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('tripped', 'reset')),
    reason BLOB NOT NULL
);
{_CASCADE_TABLE};
{_DAY_TABLE};
{FILLS_TABLE};
{_NONCE_TABLE};
{BEGAN_TABLE};
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_SCHEMA_VERSION};
COMMIT;
"""


def store_path(folder: Path, network: str, address: str, coin: str) -> Path:
    """File of one account and instrument below `folder`; the names are made safe for a file."""
    safe = re.sub(r"[^A-Za-z0-9.-]", "_", f"{network}-{address.lower()}-{coin}")
    return folder / f"{safe}.sqlite"


def has_state(path: Path) -> bool:
    """Whether a safety state is at `path`, or what was left behind of one."""
    return path.exists() or bool(_remains(path))


class Store:
    """
    The safety state of one account and instrument.

    Methods may be called from any thread: a worker writes, so that the loop never waits for the
    disk. Calls queue for one another, and each is on disk, whole, when it returns.

    Raises:
        StateError: The file cannot be opened, is damaged, or is not ours.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = RLock()
        self._open()

    def _open(self, *, is_left_by_us: bool = False) -> None:
        path = self.path
        self._file: tuple[int, int] | None = None  # until it has proved to be ours
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not path.exists():
                _refuse_remains(path, is_emptied=is_left_by_us)
                _create(path)
            # Threads share the connection; the lock below keeps their transactions apart.
            self._db = sqlite3.connect(
                path, timeout=5, isolation_level=None, check_same_thread=False
            )
            found = _identity(path)
        except (OSError, *_FAULTS) as error:
            raise StateError(_unusable(path, error)) from error
        try:
            self._verify()
        except _FAULTS as error:
            self._db.close()
            raise StateError(_unusable(path, error)) from error
        except StateError:
            self._db.close()
            raise
        self._file = found

    def _verify(self) -> None:
        self._db.execute("PRAGMA synchronous = FULL")
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        if application != _APPLICATION_ID:
            raise StateError(_unusable(self.path, "it was not made by mmbot"))
        version = self._version()
        if version != _SCHEMA_VERSION and version not in _UPGRADES:
            text = f"its schema is version {version}, this program reads {_SCHEMA_VERSION}"
            raise StateError(_unusable(self.path, text))
        (verdict,) = self._db.execute("PRAGMA quick_check").fetchone()
        if verdict != "ok":
            raise StateError(_unusable(self.path, f"it is damaged: {verdict}"))
        if version != _SCHEMA_VERSION:
            self._upgrade()

    def _version(self) -> int:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        return int(version)

    def _upgrade(self) -> None:
        """Bring a file of an older program up to date in one step; what it holds stays."""
        with self._transaction() as db:
            # Read again inside the transaction: another process may have been first.
            while (version := self._version()) in _UPGRADES:
                db.execute(_UPGRADES[version])
                db.execute(f"PRAGMA user_version = {version + 1}")

    def latched(self) -> KillReason | None:
        """Why the kill switch is latched, or None."""
        try:
            with self._lock:
                row = self._db.execute("SELECT reason FROM kill_latch").fetchone()
        except _FAULTS as error:
            raise StateError(_unusable(self.path, error)) from error
        if row is None:
            return None
        try:
            return _reason(row[0])
        except msgspec.DecodeError as error:
            raise StateError(_unusable(self.path, f"the latch cannot be read: {error}")) from error

    def peek(self) -> KillReason | None:
        """
        Why the switch is latched in the file that has the name now, which may be a newer one.

        Never waits for a write under way: then it is None, and whoever asks again soon hears more.

        Raises:
            StateError: It cannot be read, or is not ours.
        """
        if not self._lock.acquire(blocking=False):
            return None
        try:
            if not self._is_in_place() and self.path.exists():
                self._leave()
                self._open()
            return self.latched()
        finally:
            self._lock.release()

    def latch(self, reason: KillReason) -> None:
        """
        Latch the kill switch; the first reason stays until a reset.

        Raises:
            StateError: It is not latched: nothing at `path` would refuse the next run.
        """
        with self._lock:
            if not self._is_in_place():
                # Removed or replaced since the start: what is open would be latched for nobody.
                self._leave()
                self._open(is_left_by_us=True)
        blob = msgspec.json.encode(reason)
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO kill_latch VALUES (1, ?)", (blob,))
            db.execute("INSERT INTO latch_history VALUES (?, 'tripped', ?)", (reason.at_ns, blob))
        if not self._is_in_place():
            raise StateError(_unusable(self.path, "the file vanished while it was written"))

    def _leave(self) -> None:
        """
        Close a file that has lost its name, with nothing left in the log that still has one.

        SQLite would leave the log as it is, and replay it into whatever bears the name next.
        """
        with suppress(*_FAULTS):  # a file that is damaged as well: what remains is refused then
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()

    def _is_in_place(self) -> bool:
        try:
            return _identity(self.path) == self._file
        except OSError:
            return False

    def reset(self, now_ns: int) -> KillReason | None:
        """Clear the latch and return why it was set, or None when it was not."""
        reason = self.latched()
        if reason is None:
            return None
        blob = msgspec.json.encode(reason)
        with self._transaction() as db:
            db.execute("DELETE FROM kill_latch")
            db.execute("INSERT INTO latch_history VALUES (?, 'reset', ?)", (now_ns, blob))
        return reason

    def save_cascade(self, memory: CascadeMemory, saved_at_ns: int) -> None:
        """
        Replace the stored memory of sweeps.

        Raises:
            InvariantError: It could not be restored: a time after `saved_at_ns`, or no figure.
            StateError: The file cannot be written.
        """
        fault = memory.fault(saved_at_ns)
        if fault is not None:
            msg = f"refusing to store an impossible cascade memory: {fault}"
            raise InvariantError(msg)
        row = (saved_at_ns, msgspec.json.encode(memory))
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO cascade_memory VALUES (1, ?, ?)", row)

    def load_cascade(self) -> CascadeMemory | None:
        """
        The memory of sweeps as last saved, or None when none ever was.

        Whether its times are possible is for `Cascade.restore` to say, which knows the time.

        Raises:
            StateError: The row is not readable as one.
        """
        try:
            with self._lock:
                row = self._db.execute("SELECT memory FROM cascade_memory").fetchone()
            return None if row is None else msgspec.json.decode(row[0], type=CascadeMemory)
        except (msgspec.DecodeError, TypeError, *_FAULTS) as error:
            text = f"the memory of sweeps cannot be read: {error}"
            raise StateError(_unusable(self.path, text)) from error

    def clear_cascade(self) -> None:
        """Forget the stored memory of sweeps; the latch stays as it is."""
        with self._transaction() as db:
            db.execute("DELETE FROM cascade_memory")

    def save_day(self, day: Day, saved_at_ns: int) -> None:
        """
        Replace the stored account of the day.

        Raises:
            StateError: The file cannot be written.
        """
        row = (saved_at_ns, msgspec.json.encode(day))
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO day_account VALUES (1, ?, ?)", row)

    def load_day(self) -> Day | None:
        """
        The account of the day as last saved, whichever day that was; None when none ever was.

        Raises:
            StateError: The row is not readable as one: what was lost today is not known.
        """
        try:
            with self._lock:
                row = self._db.execute("SELECT day FROM day_account").fetchone()
            return None if row is None else msgspec.json.decode(row[0], type=Day)
        except (msgspec.DecodeError, TypeError, *_FAULTS) as error:
            text = f"the account of the day cannot be read: {error}"
            raise StateError(_unusable(self.path, text)) from error

    def save_nonce(self, nonce_ms: int) -> None:
        """
        Keep the highest nonce given out.

        One kept before that lies more than a day above it is replaced: it was of a clock that went
        wrong, and the venue never took it.

        Raises:
            StateError: The file cannot be written.
        """
        with self._transaction(is_synced=False) as db:
            db.execute(
                "INSERT INTO nonce_mark VALUES (1, ?) ON CONFLICT (only_row) "
                "DO UPDATE SET nonce_ms = CASE WHEN nonce_ms > excluded.nonce_ms + 86400000 "
                "THEN excluded.nonce_ms ELSE max(nonce_ms, excluded.nonce_ms) END",
                (nonce_ms,),
            )

    def nonce_ms(self) -> int:
        """
        The highest nonce that was kept; 0 when none ever was.

        Raises:
            StateError: It cannot be read.
        """
        try:
            with self._lock:
                row = self._db.execute("SELECT nonce_ms FROM nonce_mark").fetchone()
        except _FAULTS as error:
            raise StateError(_unusable(self.path, error)) from error
        return 0 if row is None else int(row[0])

    def begin_ledger(self, now_ms: int) -> int:
        """
        Since when the ledger is kept: `now_ms` where that was never asked before, or is to come.

        A run that dies before its first fill is stored leaves the ledger empty. From this the next
        one tells the fills of that run from those that are older than the program.

        Raises:
            StateError: The file cannot be written.
        """
        with self._transaction() as db:
            db.execute(_BEGIN_LEDGER, (now_ms,))
            (began_ms,) = db.execute("SELECT began_ms FROM ledger_began").fetchone()
        return int(began_ms)

    def keep_fills(self, fills: Sequence[LedgerFill]) -> list[LedgerFill]:
        """
        Add fills to the ledger; those that were not in it yet.

        Raises:
            StateError: The file cannot be written: none of them is in it.
        """
        with self._transaction(is_synced=False) as db:
            return [
                fill
                for fill in fills
                if db.execute(_KEEP_FILL, msgspec.structs.astuple(fill)).rowcount == 1
            ]

    def ledger(self) -> LedgerTotals | None:
        """
        What the fills in the ledger add up to; None while there are none.

        Raises:
            StateError: It cannot be read.
        """
        try:
            with self._lock:
                count, first_ms, last_ms, usd, fees = self._db.execute(_TOTALS).fetchone()
                if not count:
                    return None
                last = self._db.execute(_LAST_FILLS).fetchall()
        except _FAULTS as error:
            raise StateError(_unusable(self.path, error)) from error
        return LedgerTotals(count, first_ms, last_ms, usd, fees, held_after(last))

    @contextmanager
    def _transaction(self, *, is_synced: bool = True) -> Iterator[sqlite3.Connection]:
        """
        One step; unless `is_synced`, a loss of power may undo it, and nothing else.

        Another process cannot latch as long as a write of ours lasts, and one that waits for the
        disk lasts long enough for a process to be stopped in it.
        """
        with self._lock:
            try:
                self._db.execute(f"PRAGMA synchronous = {'FULL' if is_synced else 'NORMAL'}")
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException as error:
                # Whatever it was: a transaction left open would make every later write fail.
                with suppress(sqlite3.Error):  # a database that is closed or lost has none
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                if not isinstance(error, _FAULTS):
                    raise
                raise StateError(_unusable(self.path, error)) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _reason(blob: bytes) -> KillReason:
    """
    A latched reason.

    An older program wrote null for a figure that was infinite.

    Raises:
        msgspec.DecodeError: It is none.
    """
    facts = msgspec.json.decode(blob, type=dict[str, Any])
    for name in ("value", "limit"):
        if name in facts and facts[name] is None:
            facts[name] = inf
    return msgspec.convert(facts, KillReason)


def _identity(path: Path) -> tuple[int, int]:
    """Which file a name means."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _remains(path: Path) -> list[Path]:
    """SQLite's own two files beside `path`: what was written and not yet taken over, its index."""
    beside = (path.with_name(path.name + end) for end in ("-wal", "-shm"))
    return [each for each in beside if each.exists()]


def _refuse_remains(path: Path, *, is_emptied: bool) -> None:
    """
    Make no new file beside the log of another one: SQLite would replay that into it.

    Also an empty log may be in use by who opened the file before it went; only that one itself
    knows better, and says that it has emptied the log.

    Raises:
        StateError: There is such a log.
    """
    remains = _remains(path)
    if is_emptied:
        remains = [each for each in remains if each.name.endswith("-wal") and each.stat().st_size]
    if remains:
        raise StateError(
            f"cannot use the safety state {path}: it is gone, and {path}-wal or {path}-shm, which "
            "belong to it, are still there: it was moved or removed without them. Put it back "
            "beside them; or move these away as well, only if you know why the kill switch was or "
            "was not latched"
        )


def _create(path: Path) -> None:
    """Build the file beside its place and rename it: a kill in between leaves no half-made one."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    db = sqlite3.connect(fresh, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(_SCHEMA)
    finally:
        db.close()
    fresh.chmod(0o600)
    fresh.replace(path)


def _unusable(path: Path, why: str | Exception) -> str:
    room = None if isinstance(why, str) else _no_room(path.parent, why)
    if room is not None:
        return (
            f"cannot use the safety state {path}: {why}: {room}. The file was left as it is, and "
            "is not to be moved away: it knows whether the kill switch was latched"
        )
    return (
        f"cannot use the safety state {path}: {why}. It was left as it is; "
        "move it away only if you know why the kill switch was or was not latched"
    )


def _no_room(folder: Path, error: Exception) -> str | None:
    """What to do where a disk without room is the reason, or may be; None where it is not."""
    full = f"the disk of {folder} is full, or its quota is used up: make room there, then try again"
    if isinstance(error, OSError):
        return full if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
    # The lowest byte is the kind; SQLite tells a full disk as such only of some of its writes.
    kind = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if kind == sqlite3.SQLITE_FULL:
        return full
    if kind not in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        return None
    try:
        disk = os.statvfs(folder)
    except OSError:  # the folder is what is missing, which the error says
        return None
    if disk.f_bavail * disk.f_frsize < _ROOM_BYTES:
        return full
    if kind == sqlite3.SQLITE_CANTOPEN:
        return None
    return f"the disk may be full or failing: look at df -h {folder}, make room there or mend it"
