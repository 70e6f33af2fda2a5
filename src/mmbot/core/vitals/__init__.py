"""Whether every term of the quote does what it must, told from the records of the decisions."""

from mmbot.core.vitals.expectation import (
    EXPECTATIONS,
    Expectation,
    Facts,
    Filled,
    Kind,
    Violation,
)
from mmbot.core.vitals.watch import Settings, Vitals

__all__ = [
    "EXPECTATIONS",
    "Expectation",
    "Facts",
    "Filled",
    "Kind",
    "Settings",
    "Violation",
    "Vitals",
]
