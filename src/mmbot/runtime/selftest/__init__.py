"""The self-test: every input perturbed, through the assembled program, read off the wire."""

from mmbot.runtime.selftest.report import Report, Result, Status, lines, refuse_unless_well
from mmbot.runtime.selftest.rows import ROWS, switched_off
from mmbot.runtime.selftest.run import run_selftest

__all__ = [
    "ROWS",
    "Report",
    "Result",
    "Status",
    "lines",
    "refuse_unless_well",
    "run_selftest",
    "switched_off",
]
