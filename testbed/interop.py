#!/usr/bin/python3
"""`make interop [ROUTER=bird]`: what each router sees of a FerroLB node; `--doc` writes docs/interoperability.md from the run.

The table has no cell for a failure: where a test fails, nothing is written.
"""

import argparse
import platform
import sys
import time
import unittest
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "tests"), str(HERE)]

from run import Result  # noqa: E402 (found by the path above)

ROUTERS = ("frr", "bird", "gobgp", "openbgpd", "exabgp")
DOCUMENT = HERE.parent / "docs/interoperability.md"
HEAD = """\
# Interoperability

Written by `make interop-doc` on {day}; don't edit it. Each row is a test of `testbed/tests/router_cases.py` against five routers
from Debian 12, side by side with one FerroLB node in network namespaces (`testbed/README.md`). Each answer is the router's own: from `vtysh`,
`birdc`, `gobgp`, `bgpctl` with their logs, and ExaBGP's reports to its program. {count} cells, {cannot} of them for what a router can't do.

    make interop                 # all five (root)
    make interop ROUTER=bird     # one of them

"yes": the test passed. A number: the router can't do what the test asks for; the note below says how that shows, and a test asserts it.
"""
NOTES = """
## What the routers do differently

- FRR 8.4 has no switch for AS numbers of four octets: `dont-capability-negotiate` stands for it, which leaves out all capabilities.
- BIRD counts prefixes where the others count UPDATE messages.
- BIRD with `enable as4 off` takes a neighbour with a longer AS number only when told `external`.
- GoBGP refuses a neighbour for 30 s after `gobgp neighbor ADDRESS reset`, and OpenBGPD for 30 s, then twice that, after each failed session. FerroLB
  goes on trying. The tests use `disable` and `enable` with GoBGP, and `bgpctl neighbor NAME clear` with OpenBGPD.
- OpenBGPD shows a local preference of 100 for routes that came without one.
"""


def main():
    parser = argparse.ArgumentParser(description="What each router sees of a FerroLB node.")
    parser.add_argument("router", nargs="*", help=f"some of {', '.join(ROUTERS)}; all by default")
    parser.add_argument("--doc", action="store_true", help=f"write {DOCUMENT.name} from this run of all routers")
    arguments = parser.parse_args()
    unknown = set(arguments.router) - set(ROUTERS)
    if unknown or arguments.doc and arguments.router:
        parser.error(f"no such router: {', '.join(sorted(unknown))}" if unknown else "the document needs a run of all routers")
    good = True
    columns = {}
    for name in arguments.router or ROUTERS:
        case = only_case(import_module(f"test_{name}"))
        begun = time.monotonic()
        result = Result()
        tests = unittest.defaultTestLoader.loadTestsFromTestCase(case)
        columns[case.make_router] = [getattr(test, test._testMethodName) for test in tests]
        tests.run(result)
        print(f"{name}: {result.passed} passed, {result.failed} failed, {time.monotonic() - begun:.0f} s", flush=True)
        good = good and result.passed and not result.failed
    if not good:
        return 1
    if arguments.doc:
        DOCUMENT.write_text(document(columns), encoding="utf-8")
        print(f"written: {DOCUMENT}")
    return 0


def only_case(module):
    """The one test case of a router's module."""
    return next(kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, unittest.TestCase))


def document(columns):
    """The text of the document: a row a test, a column a router, a note a refusal."""
    notes = []
    names = [test.__name__ for test in next(iter(columns.values()))]
    heads = [f"{router.NAME} {router.version()}" for router in columns]
    rows = [["", *heads], ["---", *[":-:"] * len(heads)]]
    for name in names:
        cells = []
        for router, tests in columns.items():
            reason = getattr(next(test for test in tests if test.__name__ == name), "cannot", None)
            if reason is None:
                cells.append("yes")
                continue
            note = f"{router.NAME} {router.version()}: {reason}"
            if note not in notes:
                notes.append(note)
            cells.append(f"can't ({notes.index(note) + 1})")
        rows.append([title(name), *cells])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    listed = "\n".join(f"{number}. {note}" for number, note in enumerate(notes, 1))
    cannot = sum(cell.startswith("can't") for row in rows for cell in row)
    head = HEAD.format(day=time.strftime("%Y-%m-%d"), count=len(names) * len(columns), cannot=cannot)
    machine = f"\nKernel of the run: {platform.system()} {platform.release()}.\n"
    return f"{head}\n{table}\n\n## Can't\n\n{listed}\n{NOTES}{machine}"


def title(name):
    """`test_an_ebgp_route` -> `an eBGP route`."""
    words = name.removeprefix("test_").split("_")
    special = {"ebgp": "eBGP", "ibgp": "iBGP", "ipv4": "IPv4", "ipv6": "IPv6", "as": "AS", "md5": "MD5", "open": "OPEN", "sigterm": "SIGTERM",
               "routers": "router's", "nodes": "node's", "peers": "peer's"}
    return " ".join(special.get(word, word) for word in words)


if __name__ == "__main__":
    sys.exit(main())
