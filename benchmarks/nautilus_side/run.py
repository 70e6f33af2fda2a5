"""
Starts the exchange, the relays and the adapter, and prints what came of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientSession
from benchmarks.nautilus_side.environment import (
    PYTHONS,
    RELEASE,
    CannotRunError,
    find_python,
    install,
)
from benchmarks.nautilus_side.relay import Relays, Traffic, open_relay
from benchmarks.nautilus_side.verdict import CHECKS, Judge, words

ROOT: Final = Path(__file__).resolve().parent.parent.parent
CLIENT: Final = "benchmarks.nautilus_side.client"
RUN_S: Final = 240
MINUTE_S: Final = 61
"""The exchange allows an address 1200 of request weight a minute; three nodes need more."""
COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


async def start_exchange(stack: AsyncExitStack) -> dict[str, Any]:
    """`mmbot exchange` in a process of its own; what it prints when it is ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "mmbot", "exchange", "--json", "--until-stdin-closes", "--port=0"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stack.push_async_callback(process.wait)
    stack.callback(process.stdin.close)
    line = await process.stdout.readline()
    if not line:
        raise CannotRunError("mmbot exchange did not start; what it said is above")
    ready: dict[str, Any] = json.loads(line)
    return ready


async def drive(
    python: Path, phase: str, doors: Mapping[str, str], ready: Mapping[str, Any], facts: Path
) -> str:
    """Run the adapter through one phase; returns its log."""
    account = ready["accounts"][0]
    task: dict[str, Any] = {**doors, "exchange": ready["url"], "phase": phase, "facts": str(facts)}
    task |= {"private_key": account["private_key"], "address": account["address"]}
    task["words"] = ready.get("words", [])
    process = await asyncio.create_subprocess_exec(
        str(python),
        *("-m", CLIENT),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(json.dumps(task).encode()), RUN_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        with facts.open("a", encoding="utf-8") as file:
            file.write(json.dumps(["67", f"{phase}: ends", False, f"not within {RUN_S} s"]) + "\n")
        return ""
    log = COLOUR.sub("", said.decode("utf-8", "replace"))
    if process.returncode != 0:
        with facts.open("a", encoding="utf-8") as file:
            told = log.strip().splitlines()[-1:] or ["nothing"]
            why = f"exit code {process.returncode}, said {told[0]}"
            file.write(json.dumps(["67", f"{phase}: ends", False, why]) + "\n")
    return log


async def run(python: Path, scratch: Path) -> tuple[list[list[Any]], Traffic, dict[str, str]]:
    """Both phases against one exchange: facts, traffic, logs."""
    facts = scratch / "facts.jsonl"
    facts.touch()
    logs: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        ready = await start_exchange(stack)
        session = await stack.enter_async_context(ClientSession())
        relays = Relays(ready["url"], session)
        doors = {
            "base_url_http": "http://" + await open_relay(stack, relays.info, "POST", "/info"),
            "base_url_exchange": "http://"
            + await open_relay(stack, relays.exchange, "POST", "/exchange"),
            "base_url_ws": "ws://" + await open_relay(stack, relays.socket, "GET", "/ws"),
        }
        logs["trade"] = await drive(python, "trade", doors, ready, facts)
        relays.traffic.filled = await relays.count_filled(ready["accounts"][0]["address"])
        logs["reconcile"] = await drive(python, "reconcile", doors, ready, facts)
        more = {"words": words(relays.traffic.samples)} if relays.traffic.samples else {}
        await asyncio.sleep(MINUTE_S)
        logs["words"] = await drive(python, "words", doors, {**ready, **more}, facts)
    lines = facts.read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines], relays.traffic, logs


def main(about: str) -> int:
    """Install, run, print, and return 1 when a check fails, 2 when it cannot be run."""
    parser = argparse.ArgumentParser(description=about.splitlines()[1])
    parser.add_argument("--venv", type=Path, help="environment to use, made if absent, and keep")
    parser.add_argument("--python", help=f"interpreter to make it with ({', '.join(PYTHONS)})")
    parser.add_argument("--keep-log", type=Path, help="file for the adapter's own log")
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        place = (args.venv or scratch / "venv").absolute()
        try:
            inside = place / "bin" / "python"
            python = install(place, str(inside) if inside.exists() else find_python(args.python))
            facts, traffic, logs = asyncio.run(run(python, scratch))
        except CannotRunError as error:
            print(f"cannot run: {error}", file=sys.stderr)
            return 2
    if args.keep_log:
        args.keep_log.write_text("".join(logs.values()), "utf-8")
    rows = Judge(facts, traffic, logs).rows
    failed = [row for row in rows if row[2] is False]
    if args.json:
        print(json.dumps({"release": RELEASE, "facts": rows, "failed": failed}, indent=1))
        return 1 if failed else 0
    print(f"{RELEASE} against mmbot exchange")
    for check, title in CHECKS.items():
        mine = [row for row in rows if row[0] == check]
        verdict = "FAIL" if any(row[0] == check for row in failed) else "PASS"
        print(f"{verdict} check {check}: {title}")
        for _, name, is_so, told in mine:
            mark = {True: "ok    ", False: "FAILED", None: "note  "}[is_so]
            print(f"  {mark} {name}{f': {told}' if told else ''}")
    return 1 if failed else 0
