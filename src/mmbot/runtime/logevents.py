"""
Every event the log may hold: its levels, what it means, its fields.

A field is written `name:type`; the types are str, int, num, bool, list and dict, with `?` where it
may be null and `~` where it may be absent. Its unit is the end of its name. What whole structs of
the program become is taken from them.
"""

from __future__ import annotations

from typing import Final

import msgspec

from mmbot.core.diagnostics import Diagnostics, Summary
from mmbot.runtime.economics import EdgeVerdict
from mmbot.runtime.flatten import Closed

Struct = type[msgspec.Struct]


class Told(msgspec.Struct, frozen=True):
    """One event. `levels` are all that it is told at; `structs` are spread into the record."""

    levels: str
    text: str
    fields: str = ""
    structs: tuple[Struct, ...] = ()
    without: tuple[str, ...] = ()
    """Fields of the structs that are left out."""


_REQUESTS: Final = "requests_left:int requests_per_h:num? requests_hours_left:num?"

EVENTS: Final[dict[str, Told]] = {
    # -- a run ----------------------------------------------------------------------------------
    "run.started": Told(
        "info",
        "Everything was read and checked; trading begins.",
        "mode:str is_measurement:bool edge:str? coin:str asset_id:int user:str equity_usd:num "
        "capital_usd:num max_position_usd:num noise_kill_p:num noise_soft_p:num on_exit:str "
        "maker_fee_bps:num taker_fee_bps:num python:str",
    ),
    "run.refused": Told("error", "The run did not begin.", "error:str exit_code:int"),
    "run.not_suspended": Told("warning", "Ctrl+Z does nothing.", "why:str"),
    "run.hangup_ignored": Told("info", "SIGHUP reloads nothing and stops nothing.", "why:str"),
    "run.stopping": Told("info", "The end has begun.", "reason:str live_orders:int"),
    "run.verified": Told("info", "The venue confirmed what rests.", "resting_orders:int"),
    "run.unverified": Told("error", "It did not confirm it.", "may_rest:int"),
    "run.ended": Told(
        "info",
        "The sum of the run, as in summary.json.",
        f"duration_s:num mode:str is_measurement:bool {_REQUESTS} ledger_gap_usd:num? on_exit:str "
        "liquidation_px:num? closed:dict? kill:dict? is_latched:bool? end_reason:str "
        "equity_usd:num? position_sz:num? mark_px:num? venue_position_sz:num?",
        (Summary,),
    ),
    "selftest.passed": Told("info", "Every term reached the orders, before a live start."),
    "edge.measuring": Told(
        "info", "The widths are measured on a recording.", "recording:str maker_fee_bps:num"
    ),
    "edge.judged": Told("info", "Whether a live run may begin.", "widths:dict?", (EdgeVerdict,)),
    "session.started": Told(
        "info",
        "The first account was read; the limits stand.",
        "equity_usd:num capital_usd:num q_max_usd:num position_sz:num maker_bps:num",
    ),
    "snapshot.read": Told(
        "info",
        "The account was read.",
        "position_sz:num equity_usd:num mark_px:num maker_fee_bps:num open_orders:int "
        "requests_used:int requests_cap:int ip_weight:int",
    ),
    "snapshot.retried": Told("warning", "It could not be; it is tried again.", "error:str"),
    "snapshot.failed": Told("error", "It cannot be read: the run ends.", "error:str"),
    "requests.forecast": Told(
        "info",
        "Once a minute: how many requests are left.",
        f"{_REQUESTS} used:int? cap:int? cancel_cap:int? ip_weight:int ip_weight_max:int",
    ),
    "leverage.set": Told("info", "The venue took the leverage.", "leverage:int is_cross:bool"),
    "leverage.capped": Told(
        "warning", "Less than what was wanted.", "wanted:int leverage:int by:str"
    ),
    "leverage.retried": Told("warning", "The venue did not take it yet.", "error:str"),
    "venue.retried": Told("warning", "A start waits for the venue.", "error:str for_s:num"),
    "venue.complained": Told("warning", "It sent an error frame.", "text:str"),
    # -- quotes and orders ----------------------------------------------------------------------
    "quote.moved": Told("info", "Orders were sent; the numbers behind them.", "", (Diagnostics,)),
    "quote.held": Told(
        "info",
        "Once a second: the same while nothing is sent.",
        "",
        (Diagnostics,),
        ("bids", "asks"),
    ),
    "mode.changed": Told(
        "warning",
        "What the risk table allows.",
        "before:str after:str cause:str position_frac:num~ equity_usd:num~",
    ),
    "order.rejected": Told(
        "warning",
        "The venue refused one.",
        "request:str reason:str text:str cloid:str side:str? px:num?",
    ),
    "order.unanswered": Told(
        "warning", "No verdict came; it is asked for.", "request:str cloid:str text:str"
    ),
    "order.dropped": Told(
        "warning",
        "The last gate kept one back.",
        "reason:str request:str side:str px_ticks:int sz_lots:int",
    ),
    "order.revived": Told("warning", "One that was taken for gone is there.", "cloid:str oid:int"),
    "order.adopted": Told(
        "warning", "One of ours that was not known is cancelled.", "cloid:str oid:int"
    ),
    "order.foreign": Told("info", "One that is not ours rests.", "oid:int status:str"),
    "order.still_resting": Told(
        "warning", "At the end one still rests; it is cancelled again.", "oid:int status:str"
    ),
    "order.cancelled_by_venue": Told("warning", "Without our asking.", "oid:int"),
    "orders.left_over": Told(
        "warning", "Orders of an earlier run rest; they are cancelled.", "orders:int round:int"
    ),
    "orders.left_over_cancelled": Told("info", "The venue confirmed it.", "orders:int"),
    "orders.awaited": Told(
        "info",
        "What an earlier run may have sent last may still land; that is waited for.",
        "for_s:num",
    ),
    "nonce.forgotten": Told(
        "warning", "A mark of nonces that the venue would refuse is not kept.", "why:str"
    ),
    "sweep.clock_unread": Told(
        "warning", "The venue's time for the nonces could not be read.", "error:str"
    ),
    "sweep.cancelling": Told(
        "warning", "A command or the watchdog cancels what rests.", "orders:int round:int"
    ),
    "sweep.retried": Told("warning", "What rests could not be read.", "error:str"),
    "sweep.refused": Told("warning", "The venue refused a cancel.", "action:str text:str"),
    "fill.booked": Told(
        "info warning",
        "A fill; warning: of no order of this run.",
        "side:str px:num sz:num fee_usd:num position_sz:num edge_bps:num? cloid:str? oid:int "
        "tid:int is_taker:bool is_liquidation:bool venue_ms:int",
    ),
    "fills.late": Told(
        "warning", "Fills the venue spoke of have not come; the account is read.", "orders:int"
    ),
    "funding.booked": Told("info", "Funding was paid (positive) or received.", "cost_usd:num"),
    "ledger.dropped": Told(
        "warning", "Fills of this program that are older than the ledger.", "fills:int why:str"
    ),
    "ledger.caught_up": Told(
        "warning",
        "Fills that no daemon had stored.",
        "fills:int net_sz:num fees_usd:num why:str",
    ),
    "ledger.open": Told(
        "error", "Our fills do not explain the account.", "venue_sz:num fills_sz:num text:str"
    ),
    "ledger.not_stored": Told("error", "Fills could not be stored.", "error:str"),
    # -- the market -----------------------------------------------------------------------------
    "link.opened": Told("info", "Every stream is acknowledged."),
    "link.lost": Told("warning", "The connection is gone; quotes count as unknown.", "reason:str"),
    "frame.malformed": Told("error", "A frame could not be read; a new connection.", "error:str"),
    "frame.unknown": Told("warning", "A frame of a kind we do not know, once each.", "what:str"),
    "book.stale": Told(
        "warning", "Prices are too old to quote on.", "reason:str? age_s:num? lag_s:num?"
    ),
    "book.fresh": Told("info", "They are not any more.", "reason:str? age_s:num? lag_s:num?"),
    "clock.stepped": Told("warning", "The clock of the machine was set.", "step_s:num"),
    "price.jumped": Told(
        "warning", "Nothing is added for a while.", "move_ticks:num sigmas:num off_s:num"
    ),
    "side.off": Told(
        "warning",
        "Swept too often: a side adds nothing for a while; it may still reduce.",
        "side:str sweeps:int within_s:num off_s:num",
    ),
    "cascade.seen": Told("warning", "A sweep of ours.", "side:str depth_bps:num trigger:str"),
    "market.shut": Told(
        "warning",
        "What must hold at the venue does not: nothing is added.",
        "reason:str? before:str? oracle_age_s:num? oracle_stood_s:num? moved_since_bps:num? "
        "mark_off_oracle_bps:num?",
    ),
    "market.opened": Told(
        "info",
        "It holds again.",
        "reason:str? before:str? oracle_age_s:num? oracle_stood_s:num? moved_since_bps:num? "
        "mark_off_oracle_bps:num?",
    ),
    "listing.unread": Told("warning", "The listing could not be read.", "error:str"),
    # -- what must not be -----------------------------------------------------------------------
    "killswitch.tripped": Told(
        "critical",
        "Everything is cancelled, the switch latched.",
        "trigger:str value:num limit:num unit:str text:str",
    ),
    "killswitch.unlatched": Told("critical", "It could not be latched.", "error:str"),
    "killswitch.unreported": Told("error", "kill.json could not be written.", "error:str"),
    "invariant.broken": Told("critical", "A bug of ours; everything is cancelled.", "error:str"),
    "vitals.violated": Told(
        "error",
        "A term of the quote does not do what it must.",
        "term:str where:str kind:str observed:num? expected:num? text:str",
    ),
    "position.differs": Told(
        "warning", "From the venue's; fills may be on their way.", "ours_sz:num venue_sz:num"
    ),
    "position.mismatched": Told(
        "error", "Fills of ours are missing.", "missing_sz:num position_sz:num"
    ),
    "position.unexplained": Told(
        "error", "It has lasted: nothing rests.", "missing_lots:int for_s:num"
    ),
    "position.explained": Told("info", "It is over."),
    "position.unread": Told("warning", "The venue's could not be read.", "error:str"),
    "journal.late": Told("error", "The journal is behind: nothing rests.", "lag_s:num text:str"),
    "journal.caught_up": Told("info", "It is not any more.", "lag_s:num text:str"),
    "journal.closed": Told(
        "info", "It is whole.", "records:int bytes:int lag_ms_max:num error:str?"
    ),
    "nonce.not_stored": Told("error", "The nonces could not be stored.", "error:str"),
    "day.not_stored": Told("error", "The account of the day could not be.", "error:str"),
    "cascade.not_stored": Told("error", "The memory of sweeps could not be.", "error:str"),
    "heart.hindered": Told("error", "The heartbeat could not be written.", "error:str"),
    "log.unwritable": Told("error", "A record could not be written as JSON.", "of:str error:str"),
    # -- the venue's dead man -------------------------------------------------------------------
    "dead_man.armed": Told("info", "The venue cancels all when we fall silent.", "span_s:num"),
    "dead_man.closed": Told(
        "info", "It is closed to this account.", "traded_usd:num needed_usd:num"
    ),
    "dead_man.refused": Told("info", "The venue refused it.", "text:str"),
    # -- closing as a taker ---------------------------------------------------------------------
    "flatten.began": Told("info", "The position is closed as a taker.", "position_lots:int"),
    "flatten.sent": Told(
        "info", "An order for it.", "side:str sz:num worst_px:num position_sz:num fee_usd:num"
    ),
    "flatten.refused": Told("warning", "The venue refused it.", "text:str"),
    "flatten.unanswered": Told("warning", "No answer came.", "text:str"),
    "flatten.unread": Told("warning", "The account could not be read.", "error:str"),
    "flatten.waits": Told("warning", "The venue takes makers alone just now.", "window_s:num"),
    "flatten.ended": Told("info error", "What is left; error: more than dust.", "", (Closed,)),
    # -- the running daemon ---------------------------------------------------------------------
    "config.reloaded": Told("info", "Another configuration is in force.", "by:str changes:dict"),
    "config.unchanged": Told("info", "It was read again and is the same.", "by:str"),
    "config.refused": Told("error", "Nothing was changed.", "by:str error:str keys:list~"),
    "config.not_kept": Told("warning", "It is in force, config.toml is the old one.", "error:str"),
    "control.unavailable": Told("error", "There is no control socket.", "error:str"),
    "control.failed": Told("error", "A request at it failed within us.", "cmd:str error:str"),
    "metrics.served": Told("info", "Prometheus may scrape.", "url:str"),
    "metrics.unavailable": Told("error", "The port is not to be had.", "port:int error:str"),
    "alert.sent": Told("info", "A service took an alert.", "kind:str service:str tries:int"),
    "alert.failed": Told("warning", "It took none.", "kind:str service:str tries:int error:str"),
    "alert.dropped": Told("warning", "Too many wait for it.", "kind:str service:str"),
    "alert.unsent": Told("warning", "The end did not wait longer.", "service:str waited_s:num"),
    "alerts.unavailable": Told(
        "error", "A watchdog has no way to tell, and watches all the same.", "error:str"
    ),
    "alert.unmade": Told("warning", "No message could be made of a record.", "of:str error:str"),
    # -- mmbot watchdog, in a log of its own beside the safety state -----------------------------
    "watchdog.watching": Told("info", "It watches this heartbeat.", "file:str"),
    "watchdog.reached": Told("info", "Its key may cancel.", "url:str user:str signer:str"),
    "watchdog.beat_unreadable": Told(
        "warning", "A heartbeat that cannot be read: orders may rest.", "file:str"
    ),
    "watchdog.daemon_silent": Told("error", "Everything is cancelled.", "pid:int silent_s:num"),
    "watchdog.daemon_beats": Told("info", "The daemon is back.", "pid:int"),
    "watchdog.settled": Told("info", "A daemon says that nothing may rest.", "pid:int"),
    "watchdog.verified": Told(
        "info warning",
        "The venue confirms that nothing rests.",
        "cancelled:int? resting_orders:int",
    ),
    "watchdog.called_off": Told("warning", "The daemon came round.", "why:str"),
    "watchdog.gave_up": Told("warning", "The venue was not reached.", "error:str"),
    "watchdog.interrupted": Told("error", "Stopped before the venue confirmed.", "why:str"),
    "watchdog.exchange_gone": Told("info", "It ended with its daemon.", "url:str why:str"),
    "watchdog.venue_away": Told("error", "It is not reached just now.", "error:str"),
    "watchdog.venue_back": Told("info", "It is again."),
    "watchdog.not_needed": Told("info", "--once: nothing may rest.", "why:str"),
    "watchdog.ended": Told("info", "It was stopped."),
}
