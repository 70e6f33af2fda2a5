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
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as strictly,
)
from prometheus_client.parser import text_string_to_metric_families

from mmbot.logs import LogWriter, Threshold, make_logger
from mmbot.runtime.desk import Desk, Seen
from mmbot.runtime.metrics import FAMILIES, TRIGGER_UNITS, Figures
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
        return samples_of(generate_latest(self.registry()).decode())

    def registry(self) -> CollectorRegistry:
        """The figures, as the endpoint registers them."""
        found = CollectorRegistry()
        found.register(
            Figures(lambda: (self.desk.seen(), self.tally.counts()), breathe=lambda: None)
        )
        return found


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
    assert value(page, "mmbot_requests_used") == status.requests.used
    assert status.pnl.fees_usd > 0, "trades earn requests, which the venue's cap has only later"
    granted = value(page, "mmbot_requests_left") + value(page, "mmbot_requests_used")
    assert value(page, "mmbot_requests_cap") == granted > 10_000
    assert value(page, "mmbot_account_usd") == status.account_usd == pytest.approx(1000, abs=5)
    for trigger in status.triggers:
        labels, unit = {"trigger": trigger.trigger}, TRIGGER_UNITS[trigger.unit]
        assert value(page, f"mmbot_trigger_limit_{unit}", **labels) == trigger.limit
        if trigger.value is not None:
            assert value(page, f"mmbot_trigger_value_{unit}", **labels) == trigger.value
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
        "mmbot_trigger_value_usd",
        "mmbot_trigger_value_seconds",
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


# The rules of `promtool check metrics` (client_golang, prometheus/testutil/promlint/validations).
BASE_UNITS = {
    **dict.fromkeys(("minutes", "hours", "days", "weeks"), "seconds"),
    **dict.fromkeys(("fahrenheit", "rankine"), "celsius"),
    **dict.fromkeys(("inches", "yards", "miles"), "meters"),
    "kelvins": "kelvin",
    "bits": "bytes",
    "calories": "joules",
    **dict.fromkeys(("pounds", "ounces"), "grams"),
}
BASE = ("amperes", "bytes", "celsius", "grams", "joules", "meters", "metres", "seconds", "volts")
SCALES = (
    *("pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo", "kibi"),
    *("mega", "mibi", "giga", "gibi", "tera", "tebi", "peta", "pebi"),
)
SCALED = {f"{scale}{unit}" for scale in SCALES for unit in BASE}
SHORT = {"s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"}
KINDS = {"counter", "gauge", "summary", "histogram"}
SPANS = {"minute", "hour", "day", "week"}
"""Of a rate. Not of promtool, but of the same documentation, as is that of the label `unit`."""


def lint(family: Metric) -> list[str]:
    """What promtool would say of a family as it is served."""
    # The parser of the client takes `_total` off the name of a counter.
    name = f"{family.name}_total" if family.type == "counter" else family.name
    words = name.split("_")
    wrong = [
        (not family.documentation, "no help text"),
        (re.search("[a-z][A-Z]", name) is not None, "camelCase"),
        (":" in name, "a colon is for recording rules"),
        (bool(set(words) & set(BASE_UNITS)), "no base unit"),
        (bool(set(words) & SCALED), "scaled"),
        (any(f"_per_{span}" in name for span in SPANS), "no base unit of a rate"),
        (bool(set(words[1:]) & SHORT), "an abbreviated unit"),
        (bool(set(words[1:]) & KINDS), "the kind in the name"),
        (family.type != "counter" and name.endswith("_total"), "_total and no counter"),
        (family.type not in ("histogram", "summary") and name.endswith(("_count", "_sum")), "sum"),
        (family.type != "histogram" and name.endswith("_bucket"), "_bucket and no histogram"),
        (family.type != "gauge" and name.endswith("_timestamp_seconds"), "a time and no gauge"),
    ]
    labels = {label for sample in family.samples for label in sample.labels}
    if family.type != "histogram" and "le" in labels:
        wrong.append((True, "le and no histogram"))
    wrong.append(("quantile" in labels, "quantile and no summary"))
    wrong.append(("unit" in labels, "several units in one metric"))
    wrong.append((any(re.search("[a-z][A-Z]", label) for label in labels), "camelCase label"))
    return [f"{name}: {why}" for is_wrong, why in wrong if is_wrong]


async def test_names_follow_the_rules_of_prometheus(looked: Looked) -> None:
    """Of the page as it is served, read by the parsers of both formats."""
    log = make_logger(cast("LogWriter", Records()), lambda: 0, "info", (looked.tally.take,))
    log.warning("order.rejected", reason="post_only", text="no")
    log.error("vitals.violated", term="skew", text="flat")
    registry = looked.registry()
    families = list(text_string_to_metric_families(generate_latest(registry).decode()))

    assert [fault for family in families for fault in lint(family)] == []
    assert all(family.name.startswith("mmbot_") for family in families)
    names = [f"{it.name}_total" if it.type == "counter" else it.name for it in families]
    assert names == [family.name for family in FAMILIES], "each once, in the order of the table"
    # It refuses what no rule above sees: names that clash, buckets that do not add up.
    strict = cast("bytes", openmetrics.generate_latest(registry)).decode()  # type: ignore[no-untyped-call]
    assert len(list(strictly(strict))) == len(FAMILIES)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("# HELP a_x_per_hours b\n# TYPE a_x_per_hours gauge\na_x_per_hours 1\n", "base unit"),
        ("# HELP a_milliseconds b\n# TYPE a_milliseconds gauge\na_milliseconds 1\n", "scaled"),
        ("# HELP a_age_s b\n# TYPE a_age_s gauge\na_age_s 1\n", "abbreviated"),
        ("# HELP a_total b\n# TYPE a_total gauge\na_total 1\n", "no counter"),
        ("# TYPE a_ratio gauge\na_ratio 1\n", "help"),
        ("# HELP a_x_per_hour b\n# TYPE a_x_per_hour gauge\na_x_per_hour 1\n", "of a rate"),
        ('# HELP a_x b\n# TYPE a_x gauge\na_x{unit="USD"} 1\n', "several units"),
    ],
)
def test_the_rules_see_what_breaks_them(text: str, why: str) -> None:
    """A rule that nothing breaks is none."""
    (family,) = text_string_to_metric_families(text)

    assert why in " ".join(lint(family))


async def test_no_counter_falls_when_the_venue_counts_less_than_we_did(looked: Looked) -> None:
    """Prometheus takes a fall for a new beginning, and the whole of it for news."""
    seen = looked.desk.seen()
    assert seen is not None
    used = seen.status.requests.used
    assert used is not None
    fewer = msgspec.structs.replace(seen.status.requests, used=used - 10)
    later = msgspec.structs.replace(
        seen, status=msgspec.structs.replace(seen.status, requests=fewer)
    )

    def counters(at: Seen) -> Samples:
        registry = CollectorRegistry()
        registry.register(Figures(lambda: (at, looked.tally.counts()), breathe=lambda: None))
        families = text_string_to_metric_families(generate_latest(registry).decode())
        found = (it for family in families if family.type == "counter" for it in family.samples)
        return {(it.name, tuple(sorted(it.labels.items()))): it.value for it in found}

    before, after = counters(seen), counters(later)
    assert value(before, "mmbot_fills_total") > 0
    assert [name for name in before if after[name] < before[name]] == []
    assert value(looked.page(), "mmbot_requests_used") == used


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


async def test_a_client_that_drips_is_dropped_in_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each byte came in time, so that one client had the endpoint for as long as it liked."""
    monkeypatch.setattr("mmbot.runtime.scraped._CLIENT_S", 0.3)

    def drip(url: str) -> tuple[bytes, tuple[int, str]]:
        """What a question gets that never ends, and then a sound one."""
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as slow:
            slow.settimeout(20)
            slow.sendall(b"GET /metrics HTTP/1.0\r\n")
            stop = threading.Event()

            def feed() -> None:
                with suppress(OSError):
                    while not stop.wait(0.05):
                        slow.sendall(b"a")

            feeder = threading.Thread(target=feed)
            feeder.start()
            try:
                dripped = slow.recv(1 << 16)
            except ConnectionError:
                dripped = b""
            finally:
                stop.set()
                feeder.join()
        return dripped, _get(f"{url}/metrics")

    _, answers = await served(lambda: None, drip)

    dripped, (code, _) = cast("tuple[bytes, tuple[int, str]]", answers)
    assert dripped == b""
    assert code == 200


async def test_it_listens_on_loopback_alone() -> None:
    """Position and profit are nobody's business in the network."""
    endpoint, _ = await served(lambda: None, _get_root)

    assert endpoint._server.server_address[0] == "127.0.0.1"


def _get_root(url: str) -> object:
    return _get(url)
