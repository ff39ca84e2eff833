"""The tables of docs/benchmarks-kube.md, from the figures of a run."""
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/benchmarks-kube.md"
MARKER = re.compile(r"(<!-- bench:(\w+) -->\n).*?(<!-- /bench -->)", re.DOTALL)


def figures(document=DOCUMENT):
    """Those of the last run."""
    return json.loads(_figures(document).read_text(encoding="utf-8"))


def _figures(document):
    return document.parent / "benchmarks" / "kube.json" if document == DOCUMENT else document.with_suffix(".json")


def write(results, document):
    """Writes the figures, and the tables into the document, which starts from the project's own text."""
    _figures(document).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    text = DOCUMENT.read_text(encoding="utf-8")
    parts = {"machine": machine, "latency": latency, "many": many, "fleet": fleet, "rollout": rollout}

    def fill(place):
        if place[2] in ("fleet", "rollout") and place[2] not in results:
            # They can be measured one without the other.
            return place[0]
        return f"{place[1]}\n{parts[place[2]](results)}\n{place[3]}"

    document.write_text(MARKER.sub(fill, text), encoding="utf-8")


def table(head, rows):
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in [head, ["---"] * len(head), *rows])


def machine(results):
    return (f"`{results['command']}` on {results['date']}, in {results['minutes']} minutes: Kubernetes {results['kubernetes']}, {results['cpus']} CPUs for"
            f" API server, etcd, FerroLB and the clients together; load average {results['load_before']} before.")


def ms(row):
    return f"{row['p50']:g}; {row['p99']:g}"


def latency(results):
    none, standing, after, endpoint = (results[name] for name in ("single_none", "single_standing", "after_a_delete", "endpoint"))
    many = f"{standing['standing']:,} standing"
    rows = []
    for what, row in (("API server alone", results["api_alone"]), (f"the same, {many}", results["api_alone_standing"])):
        rows.append([what, "", ms(row["seen"]), f"{ms(row['status_by_a_plain_client'])} (a plain client that patches)", ""])
    for what, row in (("Service created, none standing", none), (f"the same, {many}", standing), (f"right after another was deleted, {many}", after)):
        rows.append([what, row["status"]["count"], ms(row["seen"]), ms(row["status"]), ms(row["update"])])
    rows.append(["the only endpoint of a Local Service goes unready", endpoint["update"]["count"], ms(endpoint["seen"]), "", ms(endpoint["update"])])
    return table(["ms after the API server's acknowledgement: median; 99th percentile", "times", "seen by a plain watch", "status has the address", "UPDATE at the router"], rows)


def many(results):
    many, idle, again = results["many"], results["idle"], results["again"]
    count = many["services"]
    rows = [
        [f"{count:,} Services made, nobody there (the API server's own time)", f"{many['made_in_seconds']} s"],
        ["controller and speaker start: all have their address", f"{many['allocated_seconds']} s"],
        ["... and are announced", f"{many['announced_seconds']} s"],
        ["... and all statuses are written", f"{many['statuses_seconds']} s"],
        ["writes to the API server for each Service", many["writes_a_service"]],
        *apart(many["writes"]),
        ["both start anew, all addresses stand: all announced", f"{again['announced_seconds']} s, {again['updates']} UPDATEs"],
        ["... and what they write", sum(again["writes"].values()) or "nothing"],
        *apart(again["writes"]),
    ]
    for role in ("controller", "speaker"):
        rows.append([f"{role}: resident (peak), MiB", f"{idle[role]['resident_mib']} ({idle[role]['peak_mib']}); started anew {again[role]['resident_mib']} ({again[role]['peak_mib']})"])
        rows.append([f"{role}: CPU in {idle['seconds']} s of idling", f"{idle[role]['cpu_ms']} ms"])
    rows.append([f"writes in those {idle['seconds']} s, Leases left out", sum(idle["writes"].values())])
    return table(["", ""], rows)


def fleet(results):
    fleet = results["fleet"]
    idle = fleet["idle"]
    rows = [
        [f"{fleet['speakers']} speakers start: all {fleet['services']:,} routes of all at the router", f"{fleet['announced_seconds']} s"],
        ["... and all statuses are written", f"{fleet['statuses_seconds']} s"],
        *apart(fleet["writes"], "writes"),
        ["octets that the API server sends meanwhile, to all speakers", f"{fleet['octets']:,}"],
        ["resident memory of a speaker, median", f"{fleet['resident_mib']:.1f} MiB"],
        [f"{idle['seconds']:.0f} s without a restart: writes; octets that the API server sends", f"{total(idle['writes'])}; {idle['octets']:,}"],
    ]
    for restart in fleet["restarts"]:
        rows += [
            [f"the router is away for {restart['away_seconds']:.0f} s: after its return all routes of all are back", f"{restart['back_seconds']} s"],
            [f"... writes; octets that the API server sends, in {restart['seconds']:.0f} s", f"{total(restart['writes'])}; {restart['octets']:,}"],
            *apart(restart["writes"], "... of these"),
        ]
    return own_run(fleet) + table(["", ""], rows)


def rollout(results):
    rollout = results["rollout"]
    names = {"cluster": "Cluster, pods on all nodes", "local": "Local, pods on all nodes", "alone": "Local, its only pod on one node"}
    rows = []
    for name, what in names.items():
        row = rollout[name]
        longest = f"{row['longest_gap_ms']:g} ms" if row["lost"] else ""
        how = "; ".join(f"{count:,} {why}" for why, count in row["why"].items())
        rows.append([what, f"{row['seconds']} s", f"{row['requests']:,}", f"{row['a_second']:,}", f"{row['lost']:,}", longest, how])
    head = ["service", "the update took", "requests", f"a second ({rollout['rate']:,.0f} asked for)", "lost", "longest time without an answer", "how"]
    return own_run(rollout) + table(head, rows)


def own_run(row):
    """How a part was measured that was measured alone."""
    return f"{machine(row['run'])}\n\n" if "run" in row else ""


def apart(writes, of="of these"):
    """A row for each kind of write."""
    return [[f"{of}: {what}", f"{number:,}"] for what, number in writes.items()]


def total(writes):
    return f"{sum(writes.values()):,}" if writes else "none"
