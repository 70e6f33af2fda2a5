"""The parameters of the whole core."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from mmbot.core.book import BookParams
from mmbot.core.guards import GuardParams
from mmbot.core.hours import HoursParams
from mmbot.core.ladder import LadderParams
from mmbot.core.premises import PremisesParams
from mmbot.core.quoter import QuoterParams
from mmbot.core.reconcile import ReconcileParams
from mmbot.core.risk import KillParams, RiskParams
from mmbot.core.signals import SignalsParams


class EngineParams(SignalsParams):
    """Parameters of every part of the core."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    risk: RiskParams
    quoter: QuoterParams = Field(default_factory=QuoterParams)
    ladder: LadderParams = Field(default_factory=LadderParams)
    reconcile: ReconcileParams = Field(default_factory=ReconcileParams)
    guards: GuardParams = Field(default_factory=GuardParams)
    book: BookParams = Field(default_factory=BookParams)
    kill: KillParams = Field(default_factory=KillParams)
    premises: PremisesParams = Field(default_factory=PremisesParams)
    hours: HoursParams = Field(default_factory=HoursParams)
