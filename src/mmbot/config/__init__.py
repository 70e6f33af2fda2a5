"""
Configuration: one TOML file, checked before anything else happens.

Every section is a frozen model that stands beside the code reading it; `whole` composes them,
`loading` applies `--set`, and turns what is wrong into a sentence a person can act on.
"""

from __future__ import annotations

from mmbot.config.loading import dump_toml, load, market_overrides, overridden, parse
from mmbot.config.sections import (
    AccountParams,
    EmulatorParams,
    InstrumentParams,
    LabParams,
    LiveParams,
    LogParams,
    ReferenceParams,
    ReportParams,
    StartParams,
    WatchdogParams,
)
from mmbot.config.telemetry import AlertParams, MetricsParams
from mmbot.config.whole import PAPER_ADDRESS, Config
from mmbot.config.words import show
from mmbot.core.flatten import FlattenParams
from mmbot.emulator.papering import PaperParams
from mmbot.emulator.tape import BacktestParams
from mmbot.journal.writer import JournalParams

__all__ = [
    "PAPER_ADDRESS",
    "AccountParams",
    "AlertParams",
    "BacktestParams",
    "Config",
    "EmulatorParams",
    "FlattenParams",
    "InstrumentParams",
    "JournalParams",
    "LabParams",
    "LiveParams",
    "LogParams",
    "MetricsParams",
    "PaperParams",
    "ReferenceParams",
    "ReportParams",
    "StartParams",
    "WatchdogParams",
    "dump_toml",
    "load",
    "market_overrides",
    "overridden",
    "parse",
    "show",
]
