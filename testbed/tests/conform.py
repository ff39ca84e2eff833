"""Tests that show a case of `inventory.py`, and the table that is written from them.

    class Local(Case):
        @case(5, *FAMILIES)
        def only_nodes_with_endpoints_announce(self, family):
            ...

makes a test of each variant: `test_005_only_nodes_with_endpoints_announce_ipv6`. A variant of several words is a tuple of
arguments, and its name in the inventory is those, joined: `("range", "IPv6")` is "range, IPv6". A case may have several functions, each for
some of its variants.
"""

import importlib
import re
import unittest
from dataclasses import dataclass, field
from pathlib import Path

from inventory import NUMBERS, ROWS, SECTIONS

HERE = Path(__file__).resolve().parent
DOC = HERE.parents[1] / "docs/conformance.md"
NEVER = (6, 20, 21)


@dataclass(frozen=True)
class Declared:
    """What a test function says of itself."""

    number: int
    variants: tuple[tuple, ...]
    fails: str | None


@dataclass
class Shown:
    """What there is for a case: test functions by name, and which variants they run."""

    tests: list[str] = field(default_factory=list)
    variants: set[str] = field(default_factory=set)
    fails: dict[str, str] = field(default_factory=dict)


def case(number, *variants, fails=None):
    """Marks a test function. `fails` says what FerroLB does wrong there: the test is run, and must fail until that is mended."""
    declared = Declared(number, tuple(v if isinstance(v, tuple) else (v,) for v in variants) or ((),), fails)

    def mark(function):
        function.declared = declared
        return function

    return mark


class Declaring(unittest.TestCase):
    """Makes tests of the functions that `case` marked."""

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        for name, function in list(vars(cls).items()):
            declared = getattr(function, "declared", None)
            if declared:
                delattr(cls, name)
                for variant in declared.variants:
                    _add(cls, name, function, variant)


def _add(cls, name, function, variant):
    declared = function.declared

    def run(self):
        function(self, *variant)

    run.shows = (declared.number, f"{cls.__name__}.{name}", label(variant), declared.fails)
    words = re.sub(r"\W+", "_", label(variant).lower()).strip("_")
    run.__name__ = f"test_{declared.number:03}_{name}" + (f"_{words}" if words else "")
    run.__doc__ = None
    setattr(cls, run.__name__, unittest.expectedFailure(run) if declared.fails else run)


def label(variant):
    """A variant as the inventory names it."""
    return ", ".join(map(str, variant))


def collect():
    """Number -> `Shown`, from all modules `test_conform_*.py`; nothing is run."""
    found = {}
    for file in sorted(HERE.glob("test_conform_*.py")):
        module = importlib.import_module(file.stem)
        for test in _tests(unittest.defaultTestLoader.loadTestsFromModule(module)):
            shows = getattr(getattr(test, test._testMethodName), "shows", None)
            if shows:
                number, name, variant, fails = shows
                shown = found.setdefault(number, Shown())
                if name not in shown.tests:
                    shown.tests.append(name)
                shown.variants.add(variant)
                if fails:
                    shown.fails[variant] = fails
    return found


def _tests(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from _tests(item)
        else:
            yield item


def faults(found):
    """What is wrong with the inventory, or with what the tests say of themselves."""
    wrong = []
    numbers = [row.number for section in SECTIONS for row in section.rows]
    if numbers != list(NUMBERS):
        wrong.append(f"the inventory isn't {NUMBERS[0]} to {NUMBERS[-1]}, each once and in order: {numbers}")
    wrong += [f"case {row.number} can't be left out for ever" for row in ROWS.values() if row.never and row.number not in NEVER]
    for number, shown in sorted(found.items()):
        if number not in ROWS:
            wrong.append(f"there is no case {number} ({', '.join(shown.tests)})")
            continue
        known = set(ROWS[number].variants) or {""}
        wrong += [f"case {number} has no variant {variant!r} ({', '.join(shown.tests)})" for variant in sorted(shown.variants - known)]
    return wrong


def verdict(row, shown):
    """The word of the table for a case, in bold where it isn't what it should be."""
    if row.never:
        return f"not applicable: {row.never}"
    known = row.variants or ("",)
    missing = [variant for variant in known if variant not in shown.variants]
    if shown.fails:
        which = "; ".join(f"{variant}: {why}" if variant else why for variant, why in sorted(shown.fails.items()))
        return f"**fails**: {which}"
    if not missing:
        return "pass"
    reason = f"waits for {row.waits}" if row.waits else "no test written"
    if len(missing) == len(known):
        return f"not yet: {reason}"
    return f"in part; not yet: {', '.join(missing)} ({reason})"


def table(found):
    """The text of `docs/conformance.md`."""
    verdicts = {row.number: verdict(row, found.get(row.number, Shown())) for row in ROWS.values()}
    counts = {}
    for said in verdicts.values():
        word = re.match(r"pass|not applicable|not yet|in part|\*\*fails\*\*", said)[0].strip("*")
        counts[word] = counts.get(word, 0) + 1
    lines = [
        "# Conformance: MetalLB's end-to-end tests",
        "",
        "What MetalLB's own end-to-end tests show, case by case, and what shows it of FerroLB: a test in a real cluster of three nodes, with",
        "FRR routers around it (`testbed/tests/test_conform_*.py`; `make test-kube` runs them). Each variant is a run of its own. This page is",
        "written from what the tests say of themselves (`make conformance-doc`), and `make test` fails where it is out of date. What",
        "concerns the RFCs is in [conformance-bgp.md](conformance-bgp.md).",
        "",
        f"Of {len(verdicts)} cases: {', '.join(f'{count} {word}' for word, count in counts.items())}.",
    ]
    for section in SECTIONS:
        lines += ["", f"## {section.title}", "", "| | Case | Variants | Verdict | Shown by |", "|---|---|---|---|---|"]
        for row in section.rows:
            shown = found.get(row.number, Shown())
            tests = ", ".join(f"`{name}`" for name in shown.tests)
            lines.append(f"| {row.number} | {row.title} | {'; '.join(row.variants)} | {verdicts[row.number]} | {tests} |")
    return "\n".join(lines) + "\n"
