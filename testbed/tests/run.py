#!/usr/bin/python3
"""Runs one lab test module, or several: run.py NAME... (`test_NAME.py` beside this file).

Ends with `N passed, N failed`. A skipped test counts as failed, and so does a module without tests.

These tests watch programs on a machine that may be busy otherwise, by the clock: one that has failed is run once more when all others are
over, and counts as passed if it passes then. What it said when it failed stays in the output, and the last line says how many there
were. Where more than `SECOND_TRIES` tests have failed it isn't chance any more; `--once` tries none again.
"""

import argparse
import sys
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
SECOND_TRIES = 2
sys.path[:0] = [str(HERE), str(HERE.parent)]


class Result(unittest.TestResult):
    """One line a test; the reason below it where it failed."""

    def __init__(self):
        super().__init__()
        self.passed = 0
        self.failed = 0
        # Those that may pass another time: what was skipped or passes against what is said of it won't.
        self.unlucky = {}
        self._begun = time.monotonic()

    def startTest(self, test):
        super().startTest(test)
        self._begun = time.monotonic()

    def addSuccess(self, test):
        self.passed += 1
        self._print("ok", test)

    def addFailure(self, test, err):
        self._fail(test, self._exc_info_to_string(err, test))
        self._note(test)

    def addError(self, test, err):
        self._fail(test, self._exc_info_to_string(err, test))
        self._note(test)

    def addSkip(self, test, reason):
        self._fail(test, f"skipped: {reason}")

    def addExpectedFailure(self, test, err):
        """What is known to fail, and said so in a document."""
        self.passed += 1
        self._print("known", test)

    def addUnexpectedSuccess(self, test):
        self._fail(test, "this is marked as failing, and passes: take the mark away")

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self._fail(subtest, self._exc_info_to_string(err, test))
            self._note(test)

    def _fail(self, test, text):
        self.failed += 1
        self._print("FAILED", test)
        print(text, flush=True)

    def _note(self, test):
        # What fails beside a test, as a module that isn't found or a class that can't be set up, is none.
        if isinstance(test, unittest.TestCase) and hasattr(test, "_testMethodName"):
            self.unlucky[test.id()] = test

    def _print(self, verdict, test):
        name = str(test).split()[0].removeprefix("test_").replace("_", " ")
        print(f"{verdict:<6} {type(test).__name__}: {name} ({time.monotonic() - self._begun:.1f} s)", flush=True)


def main(arguments):
    options = _parser().parse_args(arguments)
    loader = unittest.TestLoader()
    loader.testNamePatterns = [f"*{pattern}*" for pattern in options.k] or None
    suite = unittest.TestSuite(loader.loadTestsFromName(f"test_{name}") for name in options.names)
    result = Result()
    suite.run(result)
    if again := [] if options.once else second_tries(result):
        print(f"once more: {', '.join(test.id() for test in again)}", flush=True)
        first, result = result, Result()
        unittest.TestSuite(again).run(result)
        lucky, passed = result.passed, first.passed + result.passed
    else:
        lucky, passed = 0, result.passed
    print(f"{passed} passed, {result.failed} failed" + (f", {lucky} at the second try" if lucky else ""))
    return 0 if passed and not result.failed else 1


def second_tries(result):
    """What may be tried again after this result: its tests that failed, where there is no other failure and there are few of them."""
    tests = [type(test)(test.id().rpartition(".")[2]) for test in result.unlucky.values()]
    return tests if len(tests) == result.failed <= SECOND_TRIES else []


def _parser():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME", help="a module, a class of it or a test: kube_lab, kube_lab.Stands")
    parser.add_argument("--once", action="store_true", help="no second try for what has failed")
    parser.add_argument("-k", action="append", default=[], metavar="PART", help="only tests whose name has this part, or one of several")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
