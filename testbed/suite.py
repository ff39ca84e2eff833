#!/usr/bin/python3
"""`make test`: every stage, cheap ones first, each with its time and count.

A stage fails when one of its tests fails, when one is skipped, and when it ran none at all. The
suite goes on after a failed stage, so that one run shows all there is to repair. Arguments are parts of names of stages: only these
are run.
"""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from kube import build as kube_build
from kube import cluster
from labkit import build

CARGO_RESULT = re.compile(r"^test result: \w+\. (?P<passed>\d+) passed; (?P<failed>\d+) failed; (?P<skipped>\d+) ignored", re.MULTILINE)
PYTHON_RESULT = re.compile(r"^(?P<passed>\d+) passed, (?P<failed>\d+) failed(?:, (?P<again>\d+) at the second try)?$", re.MULTILINE)
# What a test that failed has to say: of a lab up to the next test's line or the count, of cargo up to the next one or the list.
FAILURE = re.compile(
    r"^FAILED .*?(?=^(?:ok|known|FAILED|once more:) |^\d+ passed, )|^---- .*? ----$.*?(?=^---- |^failures:$)", re.MULTILINE | re.DOTALL,
)
PYTHON = "/usr/bin/python3"
# So many last lines of a failure are repeated below the summary: the end of an output is what outlives its being cut.
WHY_LINES = 25


@dataclass(frozen=True)
class Stage:
    """One command, and how its output tells how many tests it ran (None: it is itself the one)."""

    name: str
    command: list[str]
    result: re.Pattern | None = None
    env: dict[str, str] = field(default_factory=dict)
    # What Go builds for it, where that isn't there yet.
    modules: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a stage came to."""

    passed: int
    failed: int
    skipped: int
    # Of those that passed, the ones that failed at first.
    again: int
    seconds: float
    # What the summary repeats of a stage where something has failed.
    why: str = ""

    def good(self):
        return self.passed > 0 and self.failed == 0 and self.skipped == 0


def stages(cargo):
    """All stages in their order. Unit tests and labs have one profile, so that dependencies are built once."""
    profile = ["--locked", "--profile", "lab"]
    return [
        Stage("format", [cargo, "fmt", "--all", "--check"]),
        *(lab(name, name) for name in ("topology", "measure", "runner", "packaging", "conformance")),
        Stage("lints", [cargo, "clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        Stage("unit tests", [cargo, "test", *profile, "--workspace", "--no-fail-fast"], CARGO_RESULT),
        Stage("docs", [cargo, "doc", "--locked", "--workspace", "--no-deps"], env={"RUSTDOCFLAGS": "-D warnings"}),
        # The unit tests have built it already; this is for a run without them.
        Stage("binary", [cargo, "test", *profile, "--workspace", "--no-run"]),
        *(lab(name, name) for name in ("layer2", "frr", "bird", "gobgp", "openbgpd", "exabgp", "rack", "beside", "demo")),
        Stage(ONCE, [PYTHON, "testbed/kubelab.py", "build"], modules=(*cluster.MODULES, kube_build.HELM)),
        *(kube_lab(name, *modules) for name, modules in KUBE.items()),
    ]


# Kubernetes and helm, which stay in the user's cache folder.
ONCE = "built once"
# The modules of one stage that want the same cluster share it.
KUBE = {
    "kube": ["kube_cache", "kube_lab"],
    "chart": ["chart", "kube_deploy"],
    "admission": ["kube_admission"],
    "kube demo": ["kube_demo"],
    "controller": ["kube_controller"],
    "speaker": ["kube_speaker"],
    "metallb's tests": [
        "conform_bgp", "conform_bgp_selectors", "conform_bgp_sessions", "conform_state", "conform_assignment", "conform_layer2",
        "conform_webhook", "kube_inside",
    ],
    "traffic": ["kube_fleet", "kube_traffic"],
}
# Only where they are asked for by name: what takes minutes and rarely changes, and MetalLB to be built.
ASKED = {"rights": ["kube_rights"], "migrate": ["kube_migrate"]}
# What Go builds for a stage beside a cluster.
BESIDE = {"chart": (kube_build.HELM,), "migrate": (kube_build.HELM, kube_build.METALLB)}


def lab(name, *modules):
    """The stage of modules below `tests/`, with the binary that was tested before."""
    binary = build.target_folder() / "lab" / "ferrolb"
    return Stage(f"lab: {name}", [PYTHON, "testbed/tests/run.py", *modules], PYTHON_RESULT, {"FERROLB_BIN": str(binary)})


def kube_lab(name, *modules):
    """The same of those that want a cluster."""
    return replace(lab(name, *modules), modules=(*cluster.MODULES, *BESIDE.get(name, ())))


def choose(cargo, arguments):
    """The stages to run; without arguments all but those that are only run where they are asked for."""
    chosen = stages(cargo)
    if arguments:
        chosen += [kube_lab(name, *modules) for name, modules in ASKED.items()]
        chosen = [stage for stage in chosen if any(part in stage.name for part in arguments)]
    return chosen


def main(arguments):
    # What is missing shows at once, not when its stage comes after half an hour.
    try:
        chosen = choose(build.cargo(), arguments)
        cluster.check_go({module for stage in chosen for module in stage.modules})
    except build.BuildError as error:
        print(f"test: {error}", file=sys.stderr)
        return 1
    outcomes = {stage.name: run(stage) for stage in chosen}
    print("\n== summary")
    for name, outcome in outcomes.items():
        print(summary(name, outcome))
    total = Outcome(*(sum(getattr(o, part) for o in outcomes.values()) for part in ("passed", "failed", "skipped", "again", "seconds")))
    good = all(outcome.good() for outcome in outcomes.values())
    print(summary("total", total))
    if ONCE in outcomes:
        print(f"{'without':<16} {total.seconds - outcomes[ONCE].seconds:7.1f} s  what is built once and kept")
    for name, outcome in outcomes.items():
        if not outcome.good() or outcome.again:
            print(f"\n== why {name} failed{' at first' if outcome.good() else ''}\n{outcome.why}")
    print("all passed" if good else "FAILED: " + ", ".join(name for name, o in outcomes.items() if not o.good()))
    return 0 if good else 1


def run(stage):
    """Runs one stage, shows its output as it comes, and counts."""
    print(f"\n== {stage.name}: {' '.join(stage.command)}", flush=True)
    begun = time.monotonic()
    process = subprocess.Popen(
        stage.command, cwd=build.ROOT, env={**os.environ, **stage.env}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
    )
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    code = process.wait()
    outcome = count(stage, "".join(lines), code, time.monotonic() - begun)
    print(summary(stage.name, outcome), flush=True)
    return outcome


def count(stage, output, code, seconds):
    """The numbers in a stage's output; an exit status that they don't explain is a failure too."""
    if stage.result is None:
        return Outcome(int(code == 0), int(code != 0), 0, 0, seconds, why(output))
    found = [match.groupdict() for match in stage.result.finditer(output)]
    passed, failed, skipped, again = (sum(int(numbers.get(what) or 0) for numbers in found) for what in ("passed", "failed", "skipped", "again"))
    if code != 0 and failed == 0:
        failed = 1
    return Outcome(passed, failed, skipped, again, seconds, why(output))


def why(output):
    """The first line and the last ones of each test that failed; where there is none, the last lines of all."""
    parts = [part.splitlines() for part in FAILURE.findall(output)] or [output.splitlines()]
    return "\n".join("\n".join(part if len(part) <= WHY_LINES else [part[0], "[...]", *part[-WHY_LINES:]]) for part in parts)


def summary(name, outcome):
    """One line: how long, how many."""
    skipped = f", {outcome.skipped} SKIPPED" if outcome.skipped else ""
    again = f", {outcome.again} AT THE SECOND TRY" if outcome.again else ""
    return f"{name:<16} {outcome.seconds:7.1f} s  {outcome.passed} passed, {outcome.failed} failed{again}{skipped}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
