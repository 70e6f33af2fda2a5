"""Journal, log and the small files of a run's folder, put together into one set of facts."""

from __future__ import annotations

import gc
import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from mmbot.core.types import NS_PER_S
from mmbot.journal.reader import Journal
from mmbot.journal.records import JournalError
from mmbot.runtime.belonging import is_newer, refuse_older
from mmbot.runtime.report.facts import (
    Facts,
    Fill,
    Happening,
    Left,
    Mids,
    Outage,
    Reading,
    Requests,
)
from mmbot.runtime.report.fromjournal import JournalFold, state_of
from mmbot.runtime.report.fromlog import LogFold
from mmbot.runtime.report.kinds import KindError, check

_TWICE_NS: Final = 5 * NS_PER_S
"""Within which the same happening, told by journal and log, is one."""
_SECTIONS: Final = ("instrument", "risk")
"""Tables of a configuration that a report looks into."""
_CORE: Final = frozenset(
    {
        "book.fresh", "book.stale", "cascade.seen", "clock.stepped", "gate.dropped",
        "journal.caught_up", "journal.late", "killswitch.tripped", "link.lost", "link.opened",
        "market.opened", "market.shut", "mode.changed", "order.adopted", "order.foreign",
        "order.rejected", "order.revived", "order.unanswered", "position.differs",
        "position.explained", "position.mismatched", "position.unexplained", "price.jumped",
        "session.started", "side.off", "vitals.violated",
    }
)  # fmt: skip
"""Events that the core notes: they are in the journal as well as in the log."""
_RELOADED: Final = "config.reloaded"
"""The journal has it where the engine was changed by it, with its place."""


def gather(run_dir: Path) -> Facts:
    """
    Everything known of the newest run of a folder.

    What is not there, or cannot be read, is named in `missing`; nothing is made up for it.
    """
    # Millions of rows that live to the end and make no cycle: the collector would go through them
    # again and again, which takes a fifth of the time.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return _gathered(run_dir)
    finally:
        if was_enabled:
            gc.enable()


def _gathered(run_dir: Path) -> Facts:
    facts = Facts(run=run_dir.name)
    log = _log(run_dir, facts)
    journal = _journal(run_dir, facts, log)
    facts.knows_fills = journal is not None or (log is not None and log.has_info)
    if log is not None and journal is not None and _is_left_over(log, journal):
        facts.missing.append(
            "log.jsonl: it is of an earlier run than the journal, and left out. Without it there "
            "are no quotes and no terms"
        )
        log, facts.has_log = None, False
    if journal is not None:
        _take_journal(facts, journal)
    if log is not None:
        _take_log(facts, log, journal)
    _small_files(run_dir, facts, has_ended=log is not None and log.summary is not None)
    _names(facts)
    _ends(facts)
    return facts


def _journal(run_dir: Path, facts: Facts, log: LogFold | None) -> JournalFold | None:
    begun_ns = log.first_ns if log is not None and log.started else None
    fold = JournalFold()
    try:
        refuse_older(run_dir, begun_ns)
        journal = Journal.of(run_dir)
        fold.fold(journal)
    except JournalError as error:
        facts.missing.append(
            f"journal: {error}. Without it there are no latencies, no exact times without quotes, "
            "and no journal positions"
        )
        return None
    if fold.instrument is None:
        facts.missing.append("journal: it is cut before the record of the start")
        return None
    facts.has_journal = True
    facts.journal_state, why = state_of(fold, journal)
    if why:
        facts.missing.append(f"journal {facts.journal_state}: {why}; what follows is not in it")
    return fold


def _is_left_over(log: LogFold, journal: JournalFold) -> bool:
    """Whether the log tells of an earlier run; where it has no start, what is older is left out."""
    assert journal.started_ns is not None
    if log.started and log.first_ns is not None:
        return is_newer(journal.started_ns, log.first_ns)
    log.forget_before(journal.started_ns)
    return False


def _log(run_dir: Path, facts: Facts) -> LogFold | None:
    fold = LogFold()
    path = run_dir / "log.jsonl"
    try:
        fold.fold(path)
    except OSError as error:
        facts.missing.append(
            f"log.jsonl: {error.strerror}. Without it there are no quotes and no terms"
        )
        return None
    facts.has_log = fold.lines > 0
    facts.unread_lines = fold.unread
    if fold.unread:
        facts.missing.append(f"log.jsonl: {fold.unread} lines cannot be read and are left out")
    return fold


def _take_journal(facts: Facts, fold: JournalFold) -> None:
    assert fold.instrument is not None
    facts.config = fold.config
    facts.sz_decimals = fold.instrument.sz_decimals
    facts.market = fold.instrument.coin
    facts.build = fold.build
    facts.started_ns, facts.ended_ns = fold.started_ns, fold.last_ns
    facts.ended, facts.exit_code, facts.broke = fold.ended, fold.exit_code, fold.broke
    facts.readings = sorted([*fold.full, *fold.brief])
    facts.start = fold.full[0] if fold.full else None
    facts.final = _final(fold)
    facts.fills, facts.payments = fold.fills, fold.payments
    facts.happenings, facts.outages = fold.happenings, fold.outages
    facts.requests, facts.rejections = fold.requests, fold.rejections
    facts.answers_ms, facts.feed_ms = fold.answers_ms, list(fold.feed_ms)
    facts.news_ms, facts.feed_gap_s = fold.news_ms, fold.gaps
    facts.read_ms = fold.read_ms
    facts.suppressed_s = {
        side: {rule: ns / NS_PER_S for rule, ns in spells.items()}
        for side, spells in fold.suppressed_ns.items()
    }
    facts.mode_s = {mode: ns / NS_PER_S for mode, ns in fold.mode_ns.items()}
    facts.watched_s = fold.watched_ns / NS_PER_S
    facts.journal_lag_ms = fold.lag_ms
    facts.marks, facts.funding_per_h = fold.marks, fold.funding_per_h
    facts.counts = dict(fold.counts)
    facts.mids, facts.left = fold.mids(), fold.left()
    facts.venue_mids = fold.venue_mids()


def _final(fold: JournalFold) -> Reading | None:
    """The last full reading, where the run was stopping and had nothing to come any more."""
    if not fold.full or fold.ended is None:
        return None
    orders = [h.at_ns for h in fold.happenings if h.event == "operator.ordered"]
    trips = [h.at_ns for h in fold.happenings if h.event == "killswitch.tripped"]
    begun = min((*orders, *trips), default=None)
    last = fold.full[-1]
    return last if begun is not None and last.at_ns >= begun else None


def _take_log(facts: Facts, fold: LogFold, journal: JournalFold | None) -> None:
    facts.started = fold.started
    facts.summary = fold.summary
    facts.ladders = fold.ladders()
    if facts.has_log and facts.ladders is None:
        facts.missing.append(
            "log.jsonl: it has no quotes (log.level is above info), so there are no terms, "
            "distances and rungs"
        )
    known_ns = journal.last_ns if journal is not None and journal.ended is None else None
    if journal is None:
        facts.fills, facts.payments = fold.fills, fold.payments
        facts.happenings, facts.readings = fold.happenings, fold.readings
        facts.start = fold.start
        facts.outages = _outages(fold.happenings)
        facts.requests = [Requests(*each) for each in fold.requests_told]
        facts.journal_lag_ms = fold.journal_lag_ms
        _suppressed(facts)
    else:
        facts.fills = _joined(facts.fills, fold.fills)
        more = [each for each in fold.payments if known_ns is not None and each.at_ns > known_ns]
        facts.payments = [*facts.payments, *more]
        facts.happenings = _merged(facts.happenings, fold.happenings, known_ns)
        if known_ns is not None:
            later = [each for each in fold.readings if each.at_ns > known_ns]
            facts.readings = sorted([*facts.readings, *later])
    if facts.started_ns is None:
        facts.started_ns = fold.first_ns
    if fold.last_ns is not None:
        facts.ended_ns = max(fold.last_ns, facts.ended_ns or fold.last_ns)
    facts.ended = facts.ended or fold.ended
    facts.counts.update(fold.counts)
    _more_mids(facts)
    _more_left(facts)


def _joined(ours: list[Fill], told: list[Fill]) -> list[Fill]:
    """Fills of both, each once: the journal's place, the log's rung."""
    logged = {(fill.tid, fill.oid, fill.venue_ms): fill for fill in told}
    found: list[Fill] = []
    for fill in ours:
        other = logged.pop((fill.tid, fill.oid, fill.venue_ms), None)
        found.append(fill if other is None else fill._replace(rung=other.rung))
    found.extend(logged.values())
    return sorted(found, key=lambda fill: fill.at_ns)


def _merged(ours: list[Happening], told: list[Happening], known_ns: int | None) -> list[Happening]:
    """The journal's happenings, with those that only the log has."""
    found = list(ours)
    late = [each for each in ours if known_ns is not None and each.at_ns >= known_ns - _TWICE_NS]
    for each in told:
        if each.event in _CORE:
            if known_ns is None or each.at_ns <= known_ns - _TWICE_NS:
                continue
            if any(_is_same(each, other) for other in late):
                continue
        if each.event == _RELOADED and any(
            it.event == _RELOADED and abs(it.at_ns - each.at_ns) <= _TWICE_NS for it in ours
        ):
            continue
        found.append(each)
    return sorted(found, key=lambda each: each.at_ns)


def _is_same(one: Happening, other: Happening) -> bool:
    return one.event == other.event and dict(one.facts) == dict(other.facts)


def _outages(happenings: list[Happening]) -> list[Outage]:
    """Time without a connection, by the log alone."""
    found: list[Outage] = []
    lost: Happening | None = None
    for each in happenings:
        if each.event == "link.lost":
            lost = each
        elif each.event == "link.opened" and lost is not None:
            reason = str(lost.facts.get("reason"))
            found.append(Outage(lost.at_ns, each.at_ns, reason, lost.where))
            lost = None
    if lost is not None:
        found.append(Outage(lost.at_ns, None, str(lost.facts.get("reason")), lost.where))
    return found


def _suppressed(facts: Facts) -> None:
    """Time without quotes by the records of the log, which come once a second."""
    ladders = facts.ladders
    if ladders is None:
        return
    spans = ladders.spans_s
    facts.watched_s = float(spans.sum())
    facts.suppressed_s = {"bid": {}, "ask": {}}
    for side, rules in (("bid", ladders.bid_pulled), ("ask", ladders.ask_pulled)):
        spells = facts.suppressed_s[side]
        for rule, span in zip(rules, spans, strict=True):
            if rule is not None:
                spells[rule] = spells.get(rule, 0.0) + float(span)


def _more_mids(facts: Facts) -> None:
    """Where the journal ends, the log's mids go on."""
    ladders = facts.ladders
    if ladders is None:
        return
    at_ns, px = ladders["at_ns"].astype(np.int64), ladders["mid_px"]
    mids = facts.mids
    if mids is None:
        facts.mids = Mids(at_ns, px)
        return
    later = at_ns > mids.at_ns[-1]
    if later.any():
        facts.mids = Mids(
            np.concatenate([mids.at_ns, at_ns[later]]), np.concatenate([mids.px, px[later]])
        )


def _more_left(facts: Facts) -> None:
    """The same of the requests left."""
    if facts.ladders is None:
        return
    at_ns, count = facts.ladders["at_ns"].astype(np.int64), facts.ladders["requests_left"]
    chosen = np.isfinite(count)
    if facts.left is not None:
        chosen &= at_ns > facts.left.at_ns[-1]
    if chosen.any():
        old = facts.left or Left(np.empty(0, np.int64), np.empty(0, np.float64))
        facts.left = Left(
            np.concatenate([old.at_ns, at_ns[chosen]]),
            np.concatenate([old.requests, count[chosen]]),
        )


def _small_files(run_dir: Path, facts: Facts, *, has_ended: bool) -> None:
    facts.kill = _json(run_dir / "kill.json", facts)
    if facts.summary is None and (facts.ended is not None or not facts.has_log):
        # Where a run has not ended, the file may be that of an earlier one in the same folder.
        facts.summary = _json(run_dir / "summary.json", facts, "run.ended")
    if facts.kill is not None and not any(
        each.event == "killswitch.tripped" for each in facts.happenings
    ):
        facts.kill = None  # of an earlier run in the same folder
    if facts.summary is None and not has_ended:
        facts.missing.append(
            "the run's own summary: it did not live to write one, so the account's last reading "
            "is not confirmed by an end"
        )
    if not facts.config:
        try:
            found = tomllib.loads((run_dir / "config.toml").read_text("utf-8"))
        except (OSError, ValueError):
            facts.missing.append("config.toml: not there or not readable")
            return
        bad = [name for name in _SECTIONS if not isinstance(found.get(name, {}), dict)]
        if bad:
            facts.missing.append(f"config.toml: no table: {', '.join(bad)}; left out")
        facts.config = {key: value for key, value in found.items() if key not in bad}


def _json(path: Path, facts: Facts, event: str = "") -> dict[str, Any] | None:
    """A small file; `event` is that of the log which has the same fields."""
    try:
        found = json.loads(path.read_text("utf-8"))
        if not isinstance(found, dict):
            raise KindError("no object")
        check(event, found)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        facts.missing.append(f"{path.name}: not readable, and left out")
        return None
    return found


def _names(facts: Facts) -> None:
    if not facts.market:
        wanted = facts.config.get("instrument", {})
        dex, coin = wanted.get("dex", ""), wanted.get("coin", "")
        facts.market = str(facts.started.get("coin") or (f"{dex}:{coin}" if dex else coin))


def _ends(facts: Facts) -> None:
    """The last reading where the journal does not have it, and what is missing without one."""
    summary = facts.summary
    if facts.final is None and summary is not None and facts.start is not None:
        facts.final = _final_of(summary, facts)
        if facts.final is None and summary.get("equity_usd") is not None:
            facts.missing.append(
                "the run's own summary: it has no mark and no position of the venue's (an earlier "
                "version wrote it), so the sum cannot be checked against the account"
            )
    if not facts.knows_fills:
        facts.missing.append(
            "fills: log.level is above info and there is no journal, so what was traded, and what "
            "it made, is not known"
        )
    elif facts.mids is None:
        facts.missing.append(
            "the mid: nothing has it, so what the price did after a fill is not told from "
            "inventory, and stands there"
        )
    if facts.start is None:
        facts.missing.append("no reading of the account: profit cannot be held against it")


def _final_of(summary: dict[str, Any], facts: Facts) -> Reading | None:
    """
    The last reading by the run's own summary, in the venue's own figures.

    None where the venue could not be asked, or the summary does not have them all.
    """
    equity, mark_px = summary.get("equity_usd"), summary.get("mark_px")
    position_sz = summary.get("venue_position_sz")
    if equity is None or mark_px is None or position_sz is None:
        return None
    at_ns = facts.ended_ns or 0
    where = "run.ended in log.jsonl"
    return Reading(at_ns, float(position_sz), float(equity), float(mark_px), None, where)


def without_secrets(facts: Facts) -> Facts:
    """The same without what a report has no use for: where a key is found is nobody's business."""
    config = {k: v for k, v in facts.config.items() if k not in ("account", "watchdog")}
    return replace(facts, config=config)
