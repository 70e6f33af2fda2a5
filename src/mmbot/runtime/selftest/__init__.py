"""The self-test: every input perturbed, through the assembled program, read off the wire."""

from mmbot.runtime.selftest.report import Report, Result, Status, lines, refuse_unless_well
from mmbot.runtime.selftest.rows import ROWS, TERMS_OFF
from mmbot.runtime.selftest.run import run_selftest

__all__ = [
    "ROWS",
    "TERMS_OFF",
    "Report",
    "Result",
    "Status",
    "lines",
    "refuse_unless_well",
    "run_selftest",
]
