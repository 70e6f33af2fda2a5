"""The instrument and the venue of NautilusTrader's side."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from benchmarks.versus_side.quoter import MAKER_FEE, TAKER_FEE
from nautilus_trader.model.currencies import USDC
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Currency, Price, Quantity


def instrument_of(facts: dict[str, Any]) -> Any:
    """The recorded coin."""
    px_decimals, sz_decimals = facts["px_decimals"], facts["sz_decimals"]
    symbol = Symbol(f"{facts['coin']}-PERP")
    return CryptoPerpetual(
        instrument_id=InstrumentId(symbol, Venue("RECORDED")),
        raw_symbol=symbol,
        base_currency=Currency.from_str(facts["coin"]),
        quote_currency=USDC,
        settlement_currency=USDC,
        is_inverse=False,
        price_precision=px_decimals,
        size_precision=sz_decimals,
        price_increment=Price(facts["step_ticks"] / facts["ticks_per_usd"], px_decimals),
        size_increment=Quantity(1 / facts["lots_per_coin"], sz_decimals),
        ts_event=0,
        ts_init=0,
        margin_init=Decimal("0.1"),
        margin_maint=Decimal("0.05"),
        maker_fee=Decimal(str(MAKER_FEE)),
        taker_fee=Decimal(str(TAKER_FEE)),
    )
