#!/usr/bin/python3
"""`make conformance-doc`: writes docs/conformance.md from what the tests say of themselves. Nothing is run."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "tests"), str(HERE)]

import conform  # noqa: E402 - it is found by the path above


def main():
    found = conform.collect()
    wrong = conform.faults(found)
    if wrong:
        print("\n".join(f"conformance: {fault}" for fault in wrong), file=sys.stderr)
        return 1
    conform.DOC.write_text(conform.table(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
