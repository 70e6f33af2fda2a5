"""
Our orders as far as we know them: one slot per cloid, and the worst case of what each side could
still do to the position.

    table.py      `Orders`: what we send, its verdicts, and readings of the account
    reports.py    fills and reports
    legs.py       the slots, their sums, the changes that news boils down to
    departed.py   what is off the book and may still be heard of
"""

from __future__ import annotations

from mmbot.core.orders.departed import READ_LAG_NS
from mmbot.core.orders.table import REQUERY_NS, SETTLE_NS, Orders
from mmbot.core.slots import NEXT_STATE, News, Slot, SlotState

__all__ = [
    "NEXT_STATE",
    "READ_LAG_NS",
    "REQUERY_NS",
    "SETTLE_NS",
    "News",
    "Orders",
    "Slot",
    "SlotState",
]
