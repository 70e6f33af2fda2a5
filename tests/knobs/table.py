"""Every key of the configuration, with a second value and the scenario in which it shows."""

from __future__ import annotations

from typing import Final

from knobs import core_scenarios as core
from knobs import program_scenarios as program
from knobs import start_scenarios as begin
from knobs import venue_scenarios as venue
from knobs.liveness import HERE, Knob, Values

PATIENT: Final[Values] = (("risk.loss_limit_frac", 0.5), ("risk.drawdown_limit_frac", 0.5))
"""Nothing ends the run early."""
NARROW: Final[Values] = (*PATIENT, ("quoter.half_spread_bps_min", 0.5))
"""The computed terms decide the width, not its lower bound."""
CALM: Final[Values] = (
    ("market.sigma_bps_rt_s", 0),
    ("market.a_per_s", 0),
    ("market.sweeps_per_s", 0),
    ("market.oracle_noise_bps", 0),
)
"""A market in which nothing happens by itself."""
LISTENING_TO_ALL: Final[Values] = (*CALM, ("link.stale_book_s", 60), ("link.stale_ctx_s", 120))
"""Single streams may be silent for longer than all of them together."""
EVENTFUL: Final[Values] = (
    ("emulator.scenario", "hype"),
    ("market.impact_decay_frac", 0.5),
    ("market.sweeps_per_s", 0.2),
    ("market.episodes_per_hour", 300),
    ("market.episode_s", 20),
    ("market.a_per_s", 1.0),
)
"""A minute of market with everything in it: takers, sweeps of both kinds, episodes, decay."""
LATCHED: Final[Values] = (
    ("mode", "testnet"),
    ("account.address", program.ADDRESS),
    ("state_dir", f"{HERE}/{program.STATE_DIR}"),
)
SIGNED: Final[Values] = (("mode", "testnet"),)
SIGNED_BY_FILE: Final[Values] = (*SIGNED, ("account.key_file", f"{HERE}/key-a"))
LOGGED: Final[Values] = (("log.dir", f"{HERE}/logs-a"),)

TABLE: Final[dict[str, Knob]] = {
    "mode": Knob("live", program.run, LOGGED),
    "state_dir": Knob(f"{HERE}/state-b", program.reset, LATCHED),
    "start.retry_s": Knob(10, begin.venue_stays_busy),
    "instrument.coin": Knob("BTC", venue.trading),
    "instrument.dex": Knob("hyna", venue.trading),
    "account.address": Knob("0x" + "cd" * 20, venue.trading),
    "account.key_env": Knob("OTHER_KEY", program.signer_from_environment, SIGNED),
    "account.key_file": Knob(f"{HERE}/key-b", program.signer_from_file, SIGNED_BY_FILE),
    "risk.capital_usd": Knob(60, core.marked_down),
    "risk.leverage": Knob(5, program.run, LOGGED),
    "risk.max_position_usd": Knob(300, core.wandering, PATIENT),
    "risk.side_budget_frac": Knob(0.3, core.wandering, PATIENT),
    "risk.loss_limit_frac": Knob(0.025, core.marked_down),
    "risk.drawdown_limit_frac": Knob(0.025, core.marked_down),
    "risk.soft_limit_frac": Knob(0.012, core.marked_down),
    "risk.soft_release_frac": Knob(0.005, core.marked_down),
    "risk.soft_s_max": Knob(20, core.marked_down),
    "risk.stale_pull_s": Knob(10, core.book_goes_silent),
    "risk.stale_kill_s": Knob(60, core.book_goes_silent),
    "risk.mark_stale_s": Knob(30, core.mark_goes_silent),
    "reference.coin": Knob("HYPE", venue.trading, (("instrument.dex", "hyna"),)),
    "quoter.half_spread_bps_min": Knob(14, core.wandering, PATIENT),
    "quoter.adverse_a0_bps": Knob(4, core.wandering, NARROW),
    "quoter.adverse_a1": Knob(0.6, core.wandering, NARROW),
    "quoter.gamma_per_bp": Knob(0.04, core.wandering, NARROW),
    "quoter.k_per_bp": Knob(0.2, core.wandering, NARROW),
    "quoter.a_per_s": Knob(0.01, core.wandering, NARROW),
    "quoter.glft_bps_max": Knob(1, core.wandering, NARROW),
    "quoter.skew_bps_min": Knob(40, core.wandering, PATIENT),
    "quoter.skew_x_touch": Knob(0.9, core.wandering, PATIENT),
    "quoter.reference_bps_max": Knob(1, core.led),
    "quoter.reference_stale_s": Knob(5, core.led),
    "quoter.reference_half_life_s": Knob(10, core.led),
    "ladder.rungs": Knob(1, core.wandering, PATIENT),
    "ladder.spacing_bps": Knob(5, core.wandering, PATIENT),
    "ladder.spacing_vol_s": Knob(60, core.wandering, PATIENT),
    "ladder.spacing_hold_ratio": Knob(1.1, core.wandering, PATIENT),
    "ladder.order_usd_min": Knob(15, core.wandering, PATIENT),
    "ladder.depth_bps_max": Knob(7, core.wandering, PATIENT),
    "reconcile.hold_bps": Knob(3, core.wandering, PATIENT),
    "reconcile.hold_bps_max": Knob(10, core.wandering_scarce, PATIENT),
    "reconcile.hold_s": Knob(60, core.wandering, PATIENT),
    "reconcile.hold_s_max": Knob(10, core.wandering_scarce, PATIENT),
    "reconcile.keep_size_frac": Knob(0.95, core.wandering, PATIENT),
    "reconcile.requests_last_h": Knob(0.1, core.wandering_scarce, PATIENT),
    "reconcile.requests_burst": Knob(100, core.wandering_scarce, PATIENT),
    "reconcile.requests_reserve": Knob(590, core.wandering_scarce, PATIENT),
    "reconcile.backoff_s": Knob(8, core.refused),
    "reconcile.backoff_s_max": Knob(3, core.refused),
    "volatility.half_life_s": Knob(10, core.wandering, PATIENT),
    "volatility.sample_s": Knob(5, core.wandering, PATIENT),
    "volatility.prior_bps_rt_s": Knob(4, core.wandering, PATIENT),
    "volatility.vol_bps_rt_s_min": Knob(1, core.wandering, NARROW),
    "volatility.vol_bps_rt_s_max": Knob(1, core.wandering, NARROW),
    "book.micro_bps_max": Knob(0, core.wandering, PATIENT),
    "link.connect_timeout_s": Knob(3, venue.nobody_answers_a_dial, CALM),
    "link.ack_timeout_s": Knob(3, venue.subscriptions_stay_unanswered, CALM),
    "link.ping_every_s": Knob(7, venue.heartbeats_stay_unanswered, CALM),
    "link.pong_timeout_s": Knob(3, venue.heartbeats_stay_unanswered, CALM),
    "link.stale_book_s": Knob(2, venue.book_falls_silent, CALM),
    "link.stale_ctx_s": Knob(4, venue.context_falls_silent, CALM),
    "link.stale_any_s": Knob(8, venue.everything_falls_silent, LISTENING_TO_ALL),
    "link.backoff_first_s": Knob(3, venue.hung_up_upon, CALM),
    "link.backoff_max_s": Knob(1, venue.nobody_answers_a_dial, CALM),
    "link.healthy_s": Knob(10, venue.hung_up_upon, CALM),
    "link.refusals_max": Knob(1, venue.subscriptions_are_refused, CALM),
    "gateway.expires_after_s": Knob(7, venue.trading),
    "gateway.post_timeout_s": Knob(2, venue.answers_are_lost, CALM),
    "gateway.query_delays_s": Knob([0.5, 1, 5], venue.answers_are_lost, CALM),
    "gateway.requests_read_every_s": Knob(10, venue.trading),
    "emulator.scenario": Knob("hype", venue.market_alone),
    "emulator.url": Knob("http://127.0.0.1:1", program.run, LOGGED),
    "emulator.seed": Knob(2, venue.market_alone),
    "emulator.equity_usd": Knob(80, venue.trading),
    "emulator.latency_ms": Knob(150, venue.trading),
    "market.sigma_bps_rt_s": Knob(3, venue.market_alone, EVENTFUL),
    "market.a_per_s": Knob(0.5, venue.market_alone, EVENTFUL),
    "market.k_per_bp": Knob(0.2, venue.market_alone, EVENTFUL),
    "market.impact_j0_bps": Knob(3, venue.market_alone, EVENTFUL),
    "market.impact_p": Knob(0.3, venue.market_alone, EVENTFUL),
    "market.impact_a1": Knob(0.8, venue.market_alone, EVENTFUL),
    "market.impact_decay_frac": Knob(0, venue.market_alone, EVENTFUL),
    "market.decay_s": Knob(60, venue.market_alone, EVENTFUL),
    "market.sweeps_per_s": Knob(0.05, venue.market_alone, EVENTFUL),
    "market.sweep_reach_bps_min": Knob(20, venue.market_alone, EVENTFUL),
    "market.sweep_excess_bps": Knob(15, venue.market_alone, EVENTFUL),
    "market.sweep_move_frac": Knob(0.3, venue.market_alone, EVENTFUL),
    "market.sweep_informed_frac": Knob(0.1, venue.market_alone, EVENTFUL),
    "market.episodes_per_hour": Knob(100, venue.market_alone, EVENTFUL),
    "market.episode_s": Knob(5, venue.market_alone, EVENTFUL),
    "market.episode_drift_bps_per_s": Knob(0.5, venue.market_alone, EVENTFUL),
    "market.episode_a_per_s": Knob(0.5, venue.market_alone, EVENTFUL),
    "market.step_ms": Knob(500, venue.market_alone, EVENTFUL),
    "market.reaction_ms": Knob(1000, venue.market_alone, EVENTFUL),
    "market.px_usd": Knob(30, venue.market_alone, EVENTFUL),
    "market.touch_spread_bps": Knob(4, venue.market_alone, EVENTFUL),
    "market.makers": Knob(5, venue.market_alone, EVENTFUL),
    "market.depth_bps": Knob(20, venue.market_alone, EVENTFUL),
    "market.depth_usd_per_bp": Knob(1000, venue.market_alone, EVENTFUL),
    "market.size_jitter_frac": Knob(0.1, venue.market_alone, EVENTFUL),
    "market.oracle_ms": Knob(1000, venue.market_alone, EVENTFUL),
    "market.oracle_noise_bps": Knob(3, venue.market_alone, EVENTFUL),
    "market.basis_s": Knob(5, venue.market_alone, EVENTFUL),
    "backtest.order_latency_ms": Knob(2000, program.backtest),
    "backtest.reply_latency_ms": Knob(2000, program.backtest),
    "backtest.queue_factor": Knob(0, program.backtest),
    "backtest.maker_fee_bps": Knob(3, program.backtest),
    "backtest.sz_decimals": Knob(1, program.backtest),
    "backtest.max_leverage": Knob(1, program.backtest),
    "backtest.exact_diff": Knob(False, program.backtest),
    "log.level": Knob("error", program.run, LOGGED),
    "log.dir": Knob(f"{HERE}/logs-b", program.run, LOGGED),
}
