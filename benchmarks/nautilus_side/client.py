"""
The NautilusTrader side of `benchmarks/nautilus.py`, run by the interpreter that has it.

Reads its task as JSON from standard input and writes facts, one JSON array a line, to the task's
file: the number of the check, what was looked at, whether it is so, the evidence. Nothing of mmbot
is imported. Phase `trade` starts with an empty account and leaves a position and two orders behind;
`reconcile` is a fresh node that must find them; `words` hears every word of ours that is an enum to
the adapter.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from typing import Any, Final

from benchmarks.nautilus_side.phases import Reconcile, Trade, Words
from benchmarks.nautilus_side.script import ACCOUNT, COIN, Steps

CHECK_S: Final = 5.0
"""How often a node compares its open orders and positions with the venue's."""
CHECK_AFTER_MS: Final = 1000
"""How long after the last activity a difference counts."""
STEP_NS: Final = 20_000_000
PHASES: Final[dict[str, type[Trade] | type[Reconcile] | type[Words]]] = {
    "trade": Trade,
    "reconcile": Reconcile,
    "words": Words,
}
HEARD: Final = (
    "quote",
    "trade",
    "book",
    "book_deltas",
    "bar",
    "mark_price",
    "index_price",
    "funding_rate",
    "instrument",
    "historical_bars",
    "historical_trades",
    "data",
)


def strategy_type(pyo3: Any, task: dict[str, Any]) -> Any:
    """The strategy that carries a script; the base class exists only where the package does."""

    class Carrier(pyo3.Strategy):  # type: ignore[misc]
        """Hands everything to the script."""

        def on_start(self) -> None:
            self.script = PHASES[task["phase"]](pyo3, self, task)
            self.course: Steps = self.script.steps()
            self.is_over = False
            self.clock.set_timer_ns("step", STEP_NS, callback=self.on_step)

        def on_order_event(self, event: Any) -> None:
            self.script.events.append(event)

        def on_step(self, _event: Any) -> None:
            if self.is_over:
                return
            try:
                next(self.course)
            except StopIteration:
                self.script.facts.put("ended", task["phase"], is_so=True, evidence="")
                self.finish()
            except Exception as error:  # noqa: BLE001 - whatever goes wrong is a fact to report
                name = f"{task['phase']}: the script runs to its end"
                self.script.facts.put("67", name, is_so=False, evidence=repr(error))
                self.finish()

        def finish(self) -> None:
            self.is_over = True
            self.clock.cancel_timer("step")
            self.shutdown_system("the script has ended")

    def listener(name: str) -> Callable[[Any, Any], None]:
        def on_data(self: Any, data: Any) -> None:
            key = data.data_type.type_name if name == "data" else name
            size = len(data) if isinstance(data, list) else 1
            self.script.heard[key] = self.script.heard.get(key, 0) + size

        return on_data

    for name in HEARD:
        setattr(Carrier, f"on_{name}", listener(name))
    return Carrier


def main() -> int:
    """Build a node on the three URLs, run the phase's script in it."""
    task: dict[str, Any] = json.load(sys.stdin)
    p: Any = importlib.import_module("nautilus_trader.core.nautilus_pyo3")
    phase = task["phase"]
    trader_id = p.TraderId("TESTER-001")
    network = p.HyperliquidEnvironment.TESTNET
    data = p.HyperliquidDataClientConfig(
        environment=network,
        base_url_ws=task["base_url_ws"],
        base_url_http=task["base_url_http"],
    )
    execution = p.HyperliquidExecClientConfig(
        private_key=task["private_key"],
        environment=network,
        base_url_ws=task["base_url_ws"],
        base_url_http=task["base_url_http"],
        base_url_exchange=task["base_url_exchange"],
    )
    checks = p.LiveExecEngineConfig(
        open_check_interval_secs=CHECK_S,
        position_check_interval_secs=CHECK_S,
        position_check_threshold_ms=CHECK_AFTER_MS,
    )
    builder = (
        p.LiveNode.builder(f"NODE-{phase.upper()}", trader_id, p.Environment.LIVE)
        .with_reconciliation(reconciliation=True)
        .with_exec_engine_config(checks)
        .with_risk_engine_config(p.LiveRiskEngineConfig(bypass=True))
        .add_data_client(None, p.HyperliquidDataClientFactory(), data)
        .add_exec_client(
            None,
            p.HyperliquidExecutionClientFactory(),
            p.HyperliquidExecFactoryConfig(trader_id, p.AccountId(ACCOUNT), execution),
        )
    )
    node = builder.build()
    kind = strategy_type(p, task)
    claims = [p.InstrumentId.from_str(f"{COIN}-USD-PERP.HYPERLIQUID")]
    node.add_strategy(
        kind(
            p.StrategyConfig(
                strategy_id=p.StrategyId("T-001"), order_id_tag="001", external_order_claims=claims
            )
        )
    )
    node.run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
