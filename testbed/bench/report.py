#!/usr/bin/python3
"""Tables and plots from the results of a run: report.py [RESULTS.json] writes docs/benchmarks.md and docs/benchmarks/ anew."""
import json
import re
import statistics
import sys
from pathlib import Path

import plot

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT, FOLDER = ROOT / "docs/benchmarks.md", ROOT / "docs/benchmarks"
MARKER = re.compile(r"(<!-- bench:(\w+) -->\n).*?(<!-- /bench -->)", re.DOTALL)
TITLES = {"ferrolb": "FerroLB", "bird": "BIRD", "frr": "FRR", "gobgp": "GoBGP"}
PER_UPDATE = 810  # /32 with one attribute set in 4,096 octets (RFC 4271 section 4.1)
QUIET = 1.5  # load average before the run, beyond which the machine had other work
FEED_GOALS = {10_000: 2.0, 100_000: 10.0}


def table(head, rows):
    if not rows:
        return "Not measured in this run.\n"
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in [head, ["---"] * len(head), *rows]) + "\n"


def spread(values):
    """Median (lowest to highest)."""
    middle = plot.number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({plot.number(min(values))} to {plot.number(max(values))})"


def by(rows, key):
    """Rows in groups, in their order."""
    groups = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return groups


def named(rows):
    return {row["announcer"]: row for row in rows}


def machine(results):
    """What the run was made with and on."""
    on, load = results["machine"], results["load"]
    busy = "; **the machine had other work, so that only ratios count**" if load["before"] > QUIET else ""
    versions = ", ".join(f"{TITLES[name]} {version}" for name, version in results["versions"].items())
    return (
        f"`{results['command']}` on {results['date']}, in {results['minutes']} minutes (bound: {results['bound']:g}): {on['cpus']} CPUs ({on['model']}), {on['memory_gib']} GiB, "
        f"Linux {on['kernel']}. {versions}. Load average {load['before']} before, at most {load['highest']} meanwhile{busy}.\n"
    )


def feed_table(results):
    rows = []
    for routes, group in by(results["feed"], "routes").items():
        peers = named(group)
        ours = peers.get("ferrolb")
        for name, row in peers.items():
            ratio = statistics.median(row["ms"]) / statistics.median(ours["ms"]) if ours and name != "ferrolb" else None
            rows.append([f"{routes:,}", TITLES[name], spread(row["ms"]), len(row["ms"]), row["updates"], f"{ratio:.1f} times" if ratio else ""])
    return table(["routes", "", "ms, median (spread)", "rounds", "UPDATEs", "of FerroLB's time"], rows)


def change_table(results):
    rows, peers = [], named(results["change"])
    for kind in ("added", "withdrawn"):
        for name, row in peers.items():
            one = row[kind]
            ratio = f"{one['p50'] / peers['ferrolb'][kind]['p50']:.2g} times" if name != "ferrolb" and "ferrolb" in peers else ""
            rows.append([kind, TITLES[name], *(plot.number(one[what]) for what in ("p50", "p99", "max")), one["count"], ratio])
    return table(["", "", "p50 ms", "p99 ms", "highest ms", "events", "of FerroLB's p50"], rows)


def burst_table(results):
    rows = []
    for layout, group in by(results["burst"], "layout").items():
        for kind, runs in by(group, "kind").items():
            rows.append([layout, kind, *(spread([run[what] for run in runs]) for what in ("last_ms", "first_ms")), max(run["updates"] for run in runs), len(runs)])
    return table(["1,000 services in", "", "ms from the last file", "ms from the first file", "UPDATEs, at most", "rounds"], rows)


def events_table(results):
    head = ["services", "p50 ms", "p99 ms", "CPU an event, µs", "start to last UPDATE, s", "UPDATEs", "resident MiB"]
    return table(head, [
        [f"{row['services']:,}", plot.number(row["wall_ms"]["p50"]), plot.number(row["wall_ms"]["p99"]), plot.number(row["cpu_us"]),
         row["start_seconds"], row["updates"], row["resident_mib"]]
        for row in results["events"]
    ])


def idle_table(results):
    return table(["", "CPU ms", "seconds", "resident MiB", "peak MiB"], [
        [TITLES[row["announcer"]], row["cpu_ms"], row["seconds"], row["resident_mib"], row["peak_mib"]] for row in results["idle"]
    ])


def tor_feed_table(results):
    rows = []
    for row in results["tor_feed"]:
        share = 1 - statistics.median(row["wire_ms"]) / statistics.median(row["kernel_ms"])
        parts = [spread(row[f"{what}_ms"]) for what in ("wire", "kernel_first", "kernel", "client")]
        rows.append([f"{row['routes']:,}", TITLES[row["announcer"]], *parts, f"{share:.1%}", len(row["wire_ms"])])
    return table(["routes", "", "last on the wire, ms", "first in the router's kernel", "last in the router's kernel", "last client answered", "the router's share", "rounds"], rows)


def tor_change_table(results):
    rows = []
    for kind in ("added", "withdrawn"):
        for row in results["tor_change"]:
            rows.append([kind, TITLES[row["announcer"]], *(plot.number(row[kind][what]) for what in ("wire", "kernel", "client")), row["count"]])
    return table(["", "", "on the wire, ms", "in the router's kernel, ms", "at the client, ms", "events"], rows)


def goals(results):
    """Each goal: (what, goal, measured, met)."""
    feeds = by(results["feed"], "routes")
    for routes, group in feeds.items():
        peers = named(group)
        if "ferrolb" not in peers:
            continue
        ours, updates = statistics.median(peers["ferrolb"]["ms"]), peers["ferrolb"]["updates"]
        if "bird" in peers:
            bird = statistics.median(peers["bird"]["ms"])
            yield f"feed of {routes:,}: not behind BIRD", f"{plot.number(bird)} ms", f"{plot.number(ours)} ms", ours <= bird
        if routes in FEED_GOALS:
            yield f"feed of {routes:,}", f"{FEED_GOALS[routes]:g} ms", f"{plot.number(ours)} ms", ours <= FEED_GOALS[routes]
        ideal = -(-routes // PER_UPDATE)
        yield f"feed of {routes:,}: UPDATEs", f"{ideal + 1} (ideal + 1)", str(updates), updates <= ideal + 1
    for kind, one in ((kind, row[kind]) for row in results["change"] if row["announcer"] == "ferrolb" for kind in ("added", "withdrawn")):
        yield f"one route {kind}: p50", "2 ms", f"{plot.number(one['p50'])} ms", one["p50"] <= 2
        yield f"one route {kind}: p99", "5 ms", f"{plot.number(one['p99'])} ms", one["p99"] <= 5
    for layout, group in by(results["burst"], "layout").items():
        for kind, runs in by(group, "kind").items():
            ms, updates = statistics.median(run["last_ms"] for run in runs), max(run["updates"] for run in runs)
            yield f"burst of 1,000 {kind}, {layout}", "50 ms from the last file", f"{plot.number(ms)} ms", ms <= 50
            yield f"burst of 1,000 {kind}, {layout}: UPDATEs", "100", str(updates), updates <= 100
    for row in results["idle"]:
        if row["announcer"] == "ferrolb":
            what = f"idle, {row['peers']} peers, {row['routes']:,} routes, {row['seconds']} s"
            limit = 10 * row["seconds"] / 60
            yield f"{what}: CPU", f"{limit:.3g} ms", f"{row['cpu_ms']} ms", row["cpu_ms"] <= limit
            yield f"{what}: resident", "25 MiB", f"{row['resident_mib']} MiB", row["resident_mib"] <= 25
    sizes = results["events"]
    if len(sizes) > 1:
        first, last = sizes[0], sizes[-1]
        ratio = last["cpu_us"] / first["cpu_us"]
        yield f"CPU an event flat from {first['services']:,} to {last['services']:,} services", "1.5 times at most", f"{ratio:.2f} times", ratio <= 1.5


def goals_table(results):
    return table(["goal", "limit", "measured", ""], [[what, limit, measured, "met" if met else "**missed**"] for what, limit, measured, met in goals(results)])


TABLES = {
    "machine": machine, "goals": goals_table, "feed": feed_table, "change": change_table, "burst": burst_table,
    "events": events_table, "idle": idle_table, "tor_feed": tor_feed_table, "tor_change": tor_change_table,
}


def plots(results):
    """The pictures: file name -> SVG."""
    def row(label, colour, values):
        return label, colour, min(values), statistics.median(values), max(values)

    pictures = {}
    if results["feed"]:
        groups = [(f"{routes:,} routes", [row(TITLES[one["announcer"]], one["announcer"], one["ms"]) for one in group])
                  for routes, group in by(results["feed"], "routes").items()]
        pictures["feed"] = plot.dots("From session up to all routes at the peer", "median and spread, on the wire", "ms", groups)
    if results["change"]:
        series = [(TITLES[one["announcer"]], one["announcer"], [max(ms, 0.01) for ms in one["added"]["percentiles"]]) for one in results["change"]]
        standing = results["change"][0]["standing"]
        pictures["change"] = plot.curves(f"One route added with {standing:,} standing", "share of events whose UPDATE was at the peer within this time", "ms", series)
    if results["events"]:
        note = "median, to the 99th of 100; FerroLB, one endpoint that comes or goes"
        wall = [(f"{one['services']:,}", "ferrolb", one["wall_ms"]["p50"], one["wall_ms"]["p50"], one["wall_ms"]["p99"]) for one in results["events"]]
        cpu = [(f"{one['services']:,}", "ferrolb", *[one["cpu_us"] / 1000] * 3) for one in results["events"]]
        pictures["events"] = plot.dots("What an event costs by the number of services", note, "ms", [("file to wire", wall), ("CPU", cpu)])
    if results["tor_feed"]:
        parts = (("wire", "on the wire"), ("kernel", "router's kernel"), ("client", "client answered"))
        groups = [(f"{TITLES[one['announcer']]}, {one['routes']:,}", [row(label, one["announcer"], one[f"{what}_ms"]) for what, label in parts])
                  for one in results["tor_feed"]]
        pictures["tor"] = plot.dots("A feed as the router's kernel and a client see it", "the router is FRR; session up to the last route", "ms", groups)
    return pictures


def fill(document, results):
    """The document with what stands between its markers made anew; a marker that nothing belongs to is an error."""
    return MARKER.sub(lambda found: f"{found.group(1)}\n{TABLES[found.group(2)](results)}\n{found.group(3)}", document)


def main():
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER / "results.json"
    write(json.loads(path.read_text(encoding="utf-8")), DOCUMENT, FOLDER)


def write(results, document, folder, template=DOCUMENT):
    """Writes the document, made of `template`, and the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    document.write_text(fill(template.read_text(encoding="utf-8"), results), encoding="utf-8")
    for name, picture in plots(results).items():
        (folder / f"{name}.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
