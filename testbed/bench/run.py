#!/usr/bin/python3
"""`make bench`: measures FerroLB beside BIRD, FRR and GoBGP in one run (root).

    run.py [--full] [--minutes N] [--only PART...] [--out FOLDER]

Quick, within three minutes, it writes its report to target/bench; in full, within half an hour, it writes
docs/benchmarks.md with docs/benchmarks/. Where time runs out, what is left gets fewer rounds, and the tables show how many.
"""
import argparse
import datetime
import json
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import change  # noqa: E402
import feed  # noqa: E402
import idle  # noqa: E402
import report  # noqa: E402
import tor  # noqa: E402
from announcers import ANNOUNCERS  # noqa: E402
from bound import Bound  # noqa: E402
from labkit import build, topology  # noqa: E402
from labkit.runner import Lab, LabError  # noqa: E402
from labkit.wait import Late  # noqa: E402

NAMES = list(ANNOUNCERS)
PARTS = ["feed", "change", "burst", "tor_feed", "tor_change", "events", "idle"]
VERSIONS = {
    "ferrolb": [None, "--version"], "bird": ["bird", "--version"], "frr": ["/usr/lib/frr/bgpd", "--version"], "gobgp": ["gobgpd", "--version"],
}
LOAD_SECONDS = 5.0


@dataclass(frozen=True)
class Mode:
    """How much is measured: numbers of routes, rounds and events."""

    minutes: float
    feed: dict  # routes -> rounds
    changes: dict  # announcer -> events of each kind, with 10,000 standing
    events: list  # numbers of services
    event_count: int
    burst_rounds: int
    idle_seconds: int
    tor_feed: dict  # routes -> rounds
    tor_standing: int
    tor_count: int


QUICK = Mode(
    minutes=2.75, feed={1000: 3, 10_000: 3}, changes={"ferrolb": 200, "bird": 200, "frr": 30, "gobgp": 30},
    events=[1000, 10_000], event_count=100, burst_rounds=1, idle_seconds=5, tor_feed={10_000: 1}, tor_standing=1000, tor_count=5,
)
FULL = Mode(
    minutes=28, feed={1000: 7, 10_000: 7, 100_000: 3}, changes={"ferrolb": 500, "bird": 500, "frr": 100, "gobgp": 100},
    events=[1000, 10_000, 100_000], event_count=300, burst_rounds=5, idle_seconds=60, tor_feed={10_000: 5, 100_000: 1}, tor_standing=10_000, tor_count=20,
)


def parts(lab, mode):
    """Each part of a run, by its name in the results: its weight when time is shared out, and what to call with its bound."""
    return {
        "feed": (4, lambda bound: feed.run(lab, NAMES, list(mode.feed), mode.feed, bound)),
        "change": (4, lambda bound: change.changes(lab, NAMES, 10_000, mode.changes, bound)),
        "burst": (2, lambda bound: change.bursts(lab, 10_000, mode.burst_rounds, bound)),
        "tor_feed": (3, lambda bound: [row for routes, rounds in mode.tor_feed.items() for row in tor.feeds(lab, NAMES, routes, rounds, bound)]),
        "tor_change": (3, lambda bound: tor.changes(lab, NAMES, mode.tor_standing, mode.tor_count, bound)),
        "events": (2, lambda bound: change.events(lab, mode.events, mode.event_count, bound)),
        "idle": (5, lambda bound: idle.run(lab, NAMES, 10_000, mode.idle_seconds, bound)),
    }


def measure(lab, mode, minutes, wanted, rows):
    """Adds the rows of each part, as far as it came; the answer names the parts that failed."""
    failed, bound, todo = [], Bound(minutes * 60), parts(lab, mode)
    for name in list(todo):
        weights = sum(weight for weight, _ in todo.values())
        weight, act = todo.pop(name)
        if name not in wanted:
            continue
        try:
            for row in act(bound.part(weight / weights)):
                rows[name].append(row)
                print(f"{name}: {brief(row)}", flush=True)
        except (feed.Missing, Late, LabError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed.append(name)
    return failed


def brief(row):
    """One line of a row: without its distributions."""
    shown = {key: {k: v for k, v in value.items() if k != "percentiles"} if isinstance(value, dict) else value for key, value in row.items()}
    return json.dumps(shown).replace('"', "")


class Load:
    """The machine's load average before the run, and the highest meanwhile."""

    def __init__(self):
        self.before = self.highest = os.getloadavg()[0]
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        while True:
            self.highest = max(self.highest, os.getloadavg()[0])
            time.sleep(LOAD_SECONDS)


def version(command):
    said = subprocess.run([command[0] or str(build.binary()), *command[1:]], capture_output=True, text=True)
    found = re.search(r"\d+\.\d+(\.\d+)*", said.stdout + said.stderr)
    return found.group() if found else "unknown"


def machine():
    """What the figures depend on."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return {
        "cpus": os.cpu_count(), "model": model.group(1).strip() if model else platform.machine(), "kernel": platform.release(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--minutes", type=float, default=None, help="another bound than the mode's")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--out", type=Path, default=None, help="another folder for all that is written")
    args = parser.parse_args()
    mode = FULL if args.full else QUICK
    minutes = args.minutes or mode.minutes
    load, begun = Load(), time.monotonic()
    results = {
        "command": "make bench BENCH=full" if args.full else "make bench", "bound": minutes, "date": datetime.date.today().isoformat(), "machine": machine(),
        "versions": {name: version(command) for name, command in VERSIONS.items()},
    }
    results |= {part: [] for part in PARTS}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is measured by then is written
    lab = Lab.claim(f"bench-{os.getpid()}", keep=False)
    folder = build.target_folder() / "bench"
    try:
        lab.build(topology.load(HERE.parent / "topologies/bench.clab.yml"))
        failed = measure(lab, mode, minutes, args.only, results)
        folder = args.out or (report.FOLDER if args.full else folder)
    finally:
        lab.down()
        finish(folder, results, load, begun)
    if failed:
        sys.exit(f"bench: these parts failed: {', '.join(failed)}")


def finish(folder, results, load, begun):
    """Writes what there is; the document itself only into its own folder, which an interrupted run doesn't get."""
    results["minutes"] = round((time.monotonic() - begun) / 60, 1)
    results["load"] = {"before": round(load.before, 1), "highest": round(load.highest, 1)}
    document = report.DOCUMENT if folder == report.FOLDER else folder / "benchmarks.md"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(dump(results), encoding="utf-8")
    report.write(results, document, folder)
    print(f"\n{report.goals_table(results)}\n{document} has the tables, {folder} the plots")


def dump(results):
    """One line a row, so that a diff shows what changed."""
    lines = []
    for key, value in results.items():
        if isinstance(value, list):
            rows = ",\n".join(f"    {json.dumps(row)}" for row in value)
            lines.append(f'  "{key}": [\n{rows}\n  ]' if value else f'  "{key}": []')
        else:
            lines.append(f'  "{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    main()
