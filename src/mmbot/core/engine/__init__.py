"""
The only orchestrator: fold events into state, decide, hand out a batch. No input or output.

    apply(event)       changes state, emits nothing, so a burst of frames costs one decision
    decide(now_ns)     mode -> quote -> ladder -> reconcile -> gate
    wake_at_ns()       when `decide` could answer differently without an event

`intake` holds the state and folds events into it, `decide` reads it.
"""

from __future__ import annotations

from mmbot.core.diagnostics import Diagnostics, Summary
from mmbot.core.engine.decide import Engine
from mmbot.core.engine.decision import Decision
from mmbot.core.engine.params import EngineParams

__all__ = ["Decision", "Diagnostics", "Engine", "EngineParams", "Summary"]
