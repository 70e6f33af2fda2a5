"""
What Prometheus reads of a run: true, complete, and nothing that is not known or not of now.

The trader is the real one in simulated time; the figures go through the registry and its text, as
they leave the program, and are held against the state they were read from.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from mmbot.logs import LogWriter, Threshold, make_logger
from mmbot.runtime.desk import Desk, Seen
from mmbot.runtime.metrics import FAMILIES, Figures
from mmbot.runtime.piped import Records
from mmbot.runtime.scraped import Scraped
from mmbot.runtime.tally import Counts, Tally
from runtime.pipe_rig import PipeRun

ROOT = Path(__file__).resolve().parent.parent.parent
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples_of(text: str) -> Samples:
    """Every sample of a page, as a parser of the format reads it."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    """One sample."""
    return samples[name, tuple(sorted(labels.items()))]


def named(samples: Samples, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """All samples of a name."""
    return {labels: found for (each, labels), found in samples.items() if each == name}


class Looked:
    """A run in simulated time, and the desk through which everybody sees it."""

    def __init__(self, here: Path, **rig: Any) -> None:
        self.run = PipeRun("demo", **rig)
        self.tally = Tally()
        self.desk = Desk(
            here,
            self.run.config,
            load=None,
            on_stop=lambda _: None,
            on_config=lambda _: None,
            log=self.run.trader.log,
            threshold=Threshold("info"),
            clock=self.run.clock,
        )

    def begin(self, span_s: float) -> None:
        """Trade for a while."""
        self.run.start()
        self.run.run(span_s)
        self.desk.begin(self.run.trader, self.run.user, None)

    def page(self) -> Samples:
        """What a scrape has now."""
        registry = CollectorRegistry()
        registry.register(
            Figures(lambda: (self.desk.seen(), self.tally.counts()), breathe=lambda: None)
        )
        return samples_of(generate_latest(registry).decode())


@pytest.fixture
async def looked(tmp_path: Path) -> Looked:
    """A minute of trading with fills."""
    found = Looked(tmp_path, seed=3, sets=("risk.warm_s=0",), market={"a_per_s": 3.0})
    found.begin(60)
    return found


async def test_the_figures_are_those_of_status_and_why(looked: Looked) -> None:
    """Two tellers of one state must not differ, or nobody knows which one lies."""
    seen = looked.desk.seen()
    assert seen is not None
    status, page = seen.status, looked.page()

    assert status.fills > 0
    assert value(page, "mmbot_fills_total") == status.fills
    assert value(page, "mmbot_position_base") == status.holding.sz
    assert value(page, "mmbot_position_ratio") == status.holding.x
    assert value(page, "mmbot_equity_usd") == status.equity_usd
    parts = named(page, "mmbot_profit_part_usd").values()
    assert sum(parts) == pytest.approx(value(page, "mmbot_profit_usd"), abs=1e-9)
    assert value(page, "mmbot_profit_usd") == pytest.approx(status.pnl.total_usd)
    assert value(page, "mmbot_requests_left") == status.requests.left
    assert value(page, "mmbot_requests_total") == status.requests.used
    assert status.pnl.fees_usd > 0, "trades earn requests, which the venue's cap has only later"
    granted = value(page, "mmbot_requests_left") + value(page, "mmbot_requests_total")
    assert value(page, "mmbot_requests_cap") == granted > 10_000
    assert value(page, "mmbot_account_usd") == status.account_usd == pytest.approx(1000, abs=5)
    for trigger in status.triggers:
        labels = {"trigger": trigger.trigger, "unit": trigger.unit}
        assert value(page, "mmbot_trigger_limit", **labels) == trigger.limit
        if trigger.value is not None:
            assert value(page, "mmbot_trigger_value", **labels) == trigger.value
    for side in seen.why.sides:
        terms = {k: v for k, v in side.terms.items() if v is not None}
        shown = {
            dict(labels)["term"]: bps
            for labels, bps in named(page, "mmbot_term_bps").items()
            if dict(labels)["side"] == side.side
        }
        assert shown == {name.removesuffix("_bps"): bps for name, bps in terms.items()}
        if side.bps is not None:
            assert sum(shown.values()) == pytest.approx(side.bps, abs=1e-6)


async def test_the_histogram_counts_every_batch_that_was_told(looked: Looked) -> None:
    """In simulated time nothing takes any, so all of them are in the lowest bucket."""
    page = looked.page()
    moved = len(looked.run.log.named("quote.moved"))
    count = value(page, "mmbot_decision_seconds_count")

    assert moved > 10
    assert 0.9 * moved <= count <= moved
    assert value(page, "mmbot_decision_seconds_bucket", le="+Inf") == count
    assert value(page, "mmbot_decision_seconds_bucket", le="0.0001") == count


async def test_what_is_not_known_has_no_sample(tmp_path: Path) -> None:
    """A 0 would be read as a flat position, an untouched limit, a budget that is spent."""
    looked = Looked(tmp_path)
    assert {name for name, _ in looked.page()} == {"mmbot_build_info", "mmbot_phase"}
    assert value(looked.page(), "mmbot_phase", phase="starting") == 1

    looked.desk.begin(looked.run.trader, looked.run.user, None)  # connected to nothing yet
    page = looked.page()
    names = {name for name, _ in page}
    assert value(page, "mmbot_link_up") == 0
    assert value(page, "mmbot_market_stale") == 1
    assert not names & {
        "mmbot_position_base",
        "mmbot_position_usd",
        "mmbot_equity_usd",
        "mmbot_price_usd",
        "mmbot_profit_usd",
        "mmbot_requests_left",
        "mmbot_trigger_value",
        "mmbot_trigger_ratio",
        "mmbot_quote_distance_bps",
        "mmbot_journal_lag_seconds",
        "mmbot_mode",
    }


async def test_old_prices_are_not_shown_as_live(looked: Looked) -> None:
    """A line that goes on as if nothing were wrong is how the last prices become today's."""
    before = {name for name, _ in looked.page()}
    of_prices = {
        "mmbot_price_usd",
        "mmbot_position_usd",
        "mmbot_equity_usd",
        "mmbot_profit_usd",
        "mmbot_term_bps",
        "mmbot_quote_distance_bps",
        "mmbot_half_spread_bps",
    }
    assert of_prices <= before
    # Nobody asks the engine any more and nothing arrives: time alone passes.
    now_ns = looked.run.clock() + 60 * 10**9
    looked.desk._clock = lambda: now_ns

    page = looked.page()

    assert not of_prices & {name for name, _ in page}
    assert value(page, "mmbot_market_stale") == 1
    assert value(page, "mmbot_decision_age_seconds") >= 60
    assert value(page, "mmbot_stream_age_seconds", stream="touch") >= 60
    assert value(page, "mmbot_stream_stale", stream="touch") == 1
    assert "mmbot_position_base" in {name for name, _ in page}, "held is held, whatever it is worth"


async def test_rejects_and_violations_are_counted_below_the_level_of_the_log(
    looked: Looked,
) -> None:
    """A quiet log must not mean that nothing is refused."""
    kept = Records()
    log = make_logger(cast("LogWriter", kept), lambda: 0, "critical", (looked.tally.take,))
    for _ in range(3):
        log.warning("order.rejected", reason="post_only", text="no")
    log.error("vitals.violated", term="skew", text="flat")

    page = looked.page()

    assert kept.all == []
    assert value(page, "mmbot_order_rejects_total", reason="post_only") == 3
    assert value(page, "mmbot_vitals_violations_total", term="skew") == 1
    labels = {"event": "order.rejected", "level": "warning"}
    assert value(page, "mmbot_log_records_total", **labels) == 3


# -- names ------------------------------------------------------------------------------------


def test_names_follow_the_convention() -> None:
    """Prometheus docs, "Metric and label naming": one unit last, counters end with _total."""
    units: tuple[str, ...] = ("seconds", "usd", "base", "bps", "ratio", "total", "info")
    units += ("bps_per_second", "per_second", "per_bps", "per_hour")
    plain = {"phase", "mode", "rules", "rule_active", "link_up", "market_stale", "stream_stale"}
    plain |= {"resting_orders", "side_pulled", "requests_left", "requests_cap", "ip_weight"}
    plain |= {"ip_weight_limit", "killed", "trigger_value", "trigger_limit", "dead_man_armed"}
    plain |= {"trend_z"}
    for family in FAMILIES:
        assert re.fullmatch(r"mmbot_[a-z0-9_]+[a-z0-9]", family.name)
        assert (family.kind == "counter") is family.name.endswith("_total")
        short = family.name.removeprefix("mmbot_")
        assert short in plain or short.endswith(units), family.name
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


def test_the_documentation_names_every_metric_and_no_other() -> None:
    """A metric that nobody can look up is read as whatever its name suggests."""
    text = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(mmbot_[a-z0-9_]+)` \| ([^|]*) \|", text, re.MULTILINE))

    assert set(rows) == {family.name for family in FAMILIES}
    for family in FAMILIES:
        assert re.findall(r"`(\w+)`", rows[family.name]) == list(family.labels), family.name


def test_the_dashboard_asks_for_nothing_else_and_shows_it_all() -> None:
    """A panel over a metric that was renamed is empty on the day it is needed."""
    text = (ROOT / "docs" / "grafana.json").read_text("utf-8")
    board = json.loads(text)
    asked = set()
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            asked |= set(re.findall(r"\b(?:mmbot|process)_[a-z0-9_]+", target["expr"]))
    known = {family.name for family in FAMILIES} | {"process_resident_memory_bytes"}
    known |= {"process_cpu_seconds_total"}
    stems = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}

    assert stems - known == set()
    rest = {"mmbot_build_info", "mmbot_start_time_seconds", "mmbot_ip_weight_limit"}
    assert known - stems <= rest, "a metric that no panel shows"


# -- the endpoint -----------------------------------------------------------------------------


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def served(
    seen: Callable[[], Seen | None], ask: Callable[[str], object]
) -> tuple[Scraped, object]:
    """An endpoint asked by a thread, while this loop answers."""
    port = _free_port()
    endpoint = Scraped(port, seen, lambda: Counts({}, {}, {}))
    try:
        return endpoint, await asyncio.to_thread(ask, f"http://127.0.0.1:{port}")
    finally:
        endpoint.close()


async def test_state_is_read_on_the_thread_of_the_loop(looked: Looked) -> None:
    """Anywhere else it could be half of one decision and half of the next."""
    threads: list[threading.Thread] = []

    def seen() -> Seen | None:
        threads.append(threading.current_thread())
        return looked.desk.seen()

    _, answer = await served(seen, lambda url: _get(f"{url}/metrics"))

    code, text = cast("tuple[int, str]", answer)
    assert code == 200
    assert value(samples_of(text), "mmbot_link_up") == 1
    assert threads == [threading.main_thread()]


async def test_a_flood_reaches_the_loop_a_few_times_a_second() -> None:
    """Whoever may connect must not be able to slow the quotes."""
    count = [0]

    def seen() -> Seen | None:
        count[0] += 1
        return None

    _, codes = await served(seen, lambda url: [_get(f"{url}/metrics")[0] for _ in range(40)])

    assert codes == [200] * 40
    assert count[0] < 20


async def test_a_question_that_fails_is_answered_and_nothing_else_happens() -> None:
    """The loop's handler would take the error for a bug of the trader, and end the run."""
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))

    def seen() -> Seen | None:
        raise RuntimeError("a bug")

    _, answers = await served(seen, lambda url: (_get(f"{url}/metrics"), _get(f"{url}/other")))

    assert [code for code, _ in cast("tuple[tuple[int, str], ...]", answers)] == [500, 404]
    assert errors == []


async def test_it_listens_on_loopback_alone() -> None:
    """Position and profit are nobody's business in the network."""
    endpoint, _ = await served(lambda: None, _get_root)

    assert endpoint._server.server_address[0] == "127.0.0.1"


def _get_root(url: str) -> object:
    return _get(url)
