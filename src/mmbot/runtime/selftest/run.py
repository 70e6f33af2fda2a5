"""Play the rows and judge what they show."""

from __future__ import annotations

from collections.abc import Callable, Collection
from time import process_time

from mmbot.config import Config
from mmbot.core.types import Instrument, Side
from mmbot.errors import ConfigError
from mmbot.runtime.selftest.bench import Tamper
from mmbot.runtime.selftest.report import Report, Result, Status
from mmbot.runtime.selftest.rows import ROWS, UNCHANGED, Gauge, Row
from mmbot.runtime.selftest.seen import Seen
from mmbot.runtime.selftest.session import PERTURB_S, Session, Skip


def run_selftest(
    config: Config,
    *,
    instrument: Instrument | None = None,
    rows: Collection[str] | None = None,
    tamper: Tamper | None = None,
    on_row: Callable[[Result], None] | None = None,
) -> Report:
    """
    Assemble the program as a run does and see on the wire that every input has its effect.

    Args:
        config: The configuration of the run.
        instrument: What the real venue says of the perp; unset: as the emulated one lists it.
        rows: Names of the rows to play, or terms for all rows of theirs; all by default.
        tamper: Breaks the program before it starts; for tests.
        on_row: Hears of every row as it is judged.

    Raises:
        ConfigError: An unknown row.
    """
    names = {row.name for row in ROWS}
    if rows is not None and (strangers := sorted(set(rows) - names - {r.term for r in ROWS})):
        raise ConfigError(f"self-test: no row {strangers[0]!r}; use {', '.join(sorted(names))}")
    began_s = process_time()
    results = []
    for row in ROWS:
        if rows is not None and row.name not in rows and row.term not in rows:
            continue
        result = play(row, config, instrument=instrument, tamper=tamper)
        results.append(result)
        if on_row is not None:
            on_row(result)
    return Report(config.instrument.wire_coin, tuple(results), process_time() - began_s)


def play(
    row: Row,
    config: Config,
    *,
    instrument: Instrument | None = None,
    tamper: Tamper | None = None,
) -> Result:
    """One row, on a program and a stage of its own."""
    why = row.off(config) if row.off is not None else None
    if why is not None:
        return _told(row, Status.OFF, why)
    session: Session | None = None
    try:
        session = Session(config, instrument=instrument, tamper=tamper)
        return _judged(row, session, *_played(row, session))
    except Skip as skipped:
        return _told(row, Status.UNSEEN, str(skipped))
    except Exception as error:  # noqa: BLE001 - a program that breaks has failed the test, however
        text = f"{type(error).__name__}: {error}"
        if session is not None:
            text = "; ".join([text, *session.bench.log.texts()[:3]])
        return _told(row, Status.FAILED, text)


_Measured = dict[Side, Seen]


def _played(row: Row, session: Session) -> tuple[_Measured, _Measured]:
    """The sides of a row before and after its perturbation."""
    session.start()
    if row.prepare is not None:
        row.prepare(session)
        session.bench.seconds(1)
    before = session.measure(row.sides, row.points)
    session.wait_until(PERTURB_S)
    row.play(session)
    after = session.measure(row.sides, row.points, row.open_bps)
    return before, after


def _judged(row: Row, session: Session, before: _Measured, after: _Measured) -> Result:
    """Whether each side rests where it must, before and after."""
    first, last = before[row.side], after[row.side]
    expected, observed = last.expected_bps, last.observed_bps
    tolerance = last.tolerance_bps
    if row.perturbation != UNCHANGED:
        expected -= first.expected_bps
        tolerance = max(tolerance, first.tolerance_bps)
        if observed is not None:
            observed = None if first.observed_bps is None else observed - first.observed_bps
    if row.gauge is Gauge.PRICE:
        moved = (last.fair_ticks / first.fair_ticks - 1) * 1e4
        expected = moved - row.side * expected
        observed = None if observed is None else moved - row.side * observed
    faults = [*_faults("before", before), *_faults("after", after)]
    if session.bench.latched:
        faults.append(f"the kill switch tripped: {session.bench.latched[0].text}")
    if session.bench.endings:
        faults.append(f"the program ended: {session.bench.endings[0].reason}")
    status, text = Status.OK, ""
    if faults:
        faults.extend(session.bench.log.texts()[:3])
        status, text = Status.FAILED, "; ".join(faults)
    elif (hidden := _hidden(row, before, after, expected)) is not None:
        status, text = Status.UNSEEN, hidden
    return _told(row, status, text, expected, tolerance, observed)


def _hidden(row: Row, before: _Measured, after: _Measured, expected_bps: float) -> str | None:
    """Why a term that is dead would have looked the same, or None when it would not."""
    if row.perturbation == UNCHANGED:
        return None
    best, left = 0.0, 0.0
    for side, seen in after.items():
        is_price = row.gauge is Gauge.PRICE
        shows = abs(expected_bps) if is_price else seen.shows_bps(row.term, before[side])
        if shows > seen.tolerance_bps:
            return None
        best, left = max(best, shows), seen.tolerance_bps
    return f"what is changed moves the quote by {best:.2f} bps, and {left:.2f} are left open"


def _faults(when: str, measured: _Measured) -> list[str]:
    """Sides that are not where they must be."""
    faults = []
    for side, seen in measured.items():
        if seen.is_ok:
            continue
        name = side.name.lower()
        if seen.observed_bps is None:
            faults.append(
                f"{when}: no {name} order, {seen.expected_bps:.2f} bps from fair expected"
            )
        else:
            faults.append(
                f"{when}: the {name} order is {seen.observed_bps:.2f} bps from fair, "
                f"{seen.expected_bps:.2f} +- {seen.tolerance_bps:.2f} expected"
            )
    return faults


def _told(
    row: Row,
    status: Status,
    text: str,
    expected_bps: float | None = None,
    tolerance_bps: float | None = None,
    observed_bps: float | None = None,
) -> Result:
    """What came of a row; without figures where it was not played to its end."""
    return Result(
        name=row.name,
        term=row.term,
        perturbation=row.perturbation,
        side=row.side.name.lower(),
        is_price=row.gauge is Gauge.PRICE,
        expected_bps=expected_bps,
        tolerance_bps=tolerance_bps,
        observed_bps=observed_bps,
        status=status,
        text=text,
    )
