"""An engine with a small strict venue, driven by hand: what the tables of single answers use."""

from __future__ import annotations

import sys
from typing import Any, Final

from benchmarks.tables.kept import REPO

sys.path.insert(0, str(REPO / "tests"))  # the venue of the engine's own tests

from core.rig import HYPE, Rig
from mmbot.core.engine import Engine, EngineParams
from mmbot.core.risk import Limits

_FREE: Final[dict[str, dict[str, Any]]] = {
    "risk": {
        "loss_limit_frac": 0.5,
        "drawdown_limit_frac": 0.5,
        "soft_limit_frac": 0.4,
        "soft_release_frac": 0.2,
    },
    "guards": {"stuck_s": 3600.0, "edge_events": 20, "edge_bps": 50.0, "sweeps": 10},
    "reconcile": {"requests_burst": 2000.0, "requests_last_h": 0.01},
}
_PREFIX: Final = 0xBEEF_0000_0000_0002
_MANY: Final = 10**9


def free(params: EngineParams) -> EngineParams:
    """Parameters whose limits nothing meets: what is looked at is the quote, not the guards."""
    update = {
        section: getattr(params, section).model_copy(update=values)
        for section, values in _FREE.items()
    }
    return params.model_copy(update=update)


def lots_at(params: EngineParams, x: float, px: float) -> int:
    """A position of at least `x` of its limit, in lots."""
    limits = Limits.of(params.risk, HYPE, params.risk.capital_usd)
    exact = abs(x) * limits.q_max_lots(HYPE.ticks(px))
    lots = int(exact) + (int(exact) < exact)
    return lots if x > 0 else -lots


def rig_of(
    params: EngineParams,
    px: float,
    *,
    x: float = 0.0,
    lots: int | None = None,
    ablate: frozenset[str] = frozenset(),
    fee_bps: float = 1.5,
) -> Rig:
    """
    An engine that starts with a position, on a market that stands at `px` with a tight touch.

    The position comes with the first picture of the account, as after a restart.
    """
    rig = Rig(
        params,
        equity_usd=params.risk.capital_usd,
        position_lots=lots_at(params, x, px) if lots is None else lots,
        fair_px=px,
        maker_bps=fee_bps,
        requests_cap=_MANY,
        is_started=False,
    )
    rig.engine = Engine(params, rig.instrument, cloid_prefix=_PREFIX, ablate=ablate)
    return rig
