"""The parameters of the whole core."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from mmbot.core.book import BookParams
from mmbot.core.estimators.volatility import VolatilityParams
from mmbot.core.ladder import LadderParams
from mmbot.core.quoter import QuoterParams
from mmbot.core.reconcile import ReconcileParams
from mmbot.core.risk import RiskParams


class EngineParams(BaseModel):
    """Parameters of every part of the core."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    risk: RiskParams
    quoter: QuoterParams = Field(default_factory=QuoterParams)
    ladder: LadderParams = Field(default_factory=LadderParams)
    reconcile: ReconcileParams = Field(default_factory=ReconcileParams)
    volatility: VolatilityParams = Field(default_factory=VolatilityParams)
    book: BookParams = Field(default_factory=BookParams)
