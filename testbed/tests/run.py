#!/usr/bin/python3
"""Runs one lab test module, or several: run.py NAME... (`test_NAME.py` beside this file).

Ends with `N passed, N failed`. A skipped test counts as failed, and so does a module without tests.
"""

import argparse
import sys
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]


class Result(unittest.TestResult):
    """One line a test; the reason below it where it failed."""

    def __init__(self):
        super().__init__()
        self.passed = 0
        self.failed = 0
        self._begun = time.monotonic()

    def startTest(self, test):
        super().startTest(test)
        self._begun = time.monotonic()

    def addSuccess(self, test):
        self.passed += 1
        self._print("ok", test)

    def addFailure(self, test, err):
        self._fail(test, self._exc_info_to_string(err, test))

    def addError(self, test, err):
        self._fail(test, self._exc_info_to_string(err, test))

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

    def _fail(self, test, text):
        self.failed += 1
        self._print("FAILED", test)
        print(text, flush=True)

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
    print(f"{result.passed} passed, {result.failed} failed")
    return 0 if result.passed and not result.failed else 1


def _parser():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME", help="a module, a class of it or a test: kube_lab, kube_lab.Stands")
    parser.add_argument("-k", action="append", default=[], metavar="PART", help="only tests whose name has this part, or one of several")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
