"""What a self-test found, for a person and for a program."""

from __future__ import annotations

from enum import Enum

import msgspec

from mmbot.errors import CheckError


class Status(Enum):
    """What became of a row."""

    OK = "ok"
    FAILED = "FAILED"
    OFF = "off"
    """The configuration switches the term off."""
    UNSEEN = "unseen"
    """The term is on, but cannot be shown at this size; the text says why."""


class Result(msgspec.Struct, frozen=True):
    """
    One row of the table.

    `expected_bps` and `observed_bps` are changes: of the depth of the nearest order of `side`, or
    of its price where `is_price`; the sign is the direction. For a row that changes nothing they
    are the depth itself. None where the row was not played to its end.
    """

    name: str
    term: str
    perturbation: str
    side: str
    is_price: bool
    expected_bps: float | None
    tolerance_bps: float | None
    observed_bps: float | None
    status: Status
    text: str = ""
    """Why it failed, is off or unseen."""


class Report(msgspec.Struct, frozen=True):
    """All rows that were played."""

    coin: str
    rows: tuple[Result, ...]
    cpu_s: float

    @property
    def failed(self) -> tuple[Result, ...]:
        """Rows in which the program did not do what it must."""
        return tuple(row for row in self.rows if row.status is Status.FAILED)

    @property
    def is_well(self) -> bool:
        """Whether no row failed and at least one was played."""
        return not self.failed and any(row.status is Status.OK for row in self.rows)

    @property
    def off(self) -> tuple[str, ...]:
        """Terms that the configuration switches off."""
        return tuple(dict.fromkeys(r.term for r in self.rows if r.status is Status.OFF))


def refuse_unless_well(report: Report) -> None:
    """
    Let a run begin only after a self-test that failed nowhere.

    Raises:
        CheckError: With every row that failed.
    """
    if report.is_well:
        return
    if not report.failed:
        raise CheckError("self-test: no row was played; nothing is known of this program")
    lines = [f"{row.name}: {row.text}" for row in report.failed]
    raise CheckError("self-test failed: the program does not trade\n" + "\n".join(lines))


def lines(report: Report) -> list[str]:
    """The report as a table."""
    table = [
        (
            row.term,
            row.perturbation,
            ("price of " if row.is_price else "depth of ") + row.side,
            _figure(row.expected_bps)
            + ("" if row.tolerance_bps is None else f" +- {row.tolerance_bps:.2f}"),
            _figure(row.observed_bps),
            row.status.value,
        )
        for row in report.rows
    ]
    head = ("term", "perturbation", "read off", "expected, bps", "observed", "")
    widths = [max(len(row[n]) for row in (head, *table)) for n in range(len(head))]
    text = [
        "  ".join(
            cell.rjust(width) if n in (3, 4) else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *table)
    ]
    played = sum(row.status in (Status.OK, Status.FAILED) for row in report.rows)
    text.append("")
    text.extend(
        f"{row.status.value}: {row.name}: {row.text}"
        for row in report.rows
        if row.status is not Status.OK
    )
    failed = len(report.failed)
    if report.is_well:
        verdict = "every term does what it must"
    else:
        verdict = "the program must not trade" if failed else "nothing was shown of this program"
    text.append(f"{report.coin}: {played} rows, {failed} failed, {report.cpu_s:.0f} s: {verdict}")
    return text


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"
