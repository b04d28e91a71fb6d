"""python -m benchmarks [--only NAME] [--quick] [--rounds N]"""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks import report
from benchmarks.cases import CASES
from benchmarks.report import Line
from benchmarks.twins import Session

FEWEST = 11


def main() -> int:
    """Run the cases that were asked for; 1 when a limit is broken."""
    options = _options()
    chosen = {name: case for name, case in CASES.items() if not options.only or name in options.only}
    session = Session(rounds=options.rounds or (FEWEST if options.quick else 31), quick=options.quick)
    print(report.header(), end="", flush=True)
    lines: list[Line] = []
    try:
        for name, case in chosen.items():
            start = time.monotonic()
            for line in case(session):
                lines.append(line)
                print(report.rows([line]), end="", flush=True)
            print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    finally:
        session.close()
    if not options.only:
        report.write(lines, " --quick" if options.quick else "")
    return int(any(line.ok is False for line in lines))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Every cost the README promises.")
    parser.add_argument("--only", action="append", metavar="NAME", choices=CASES, help=f"one of {', '.join(CASES)}")
    parser.add_argument("--quick", action="store_true", help="less work and smaller stores, for a first look")
    parser.add_argument("--rounds", type=_rounds, metavar="N", help=f"at least {FEWEST}; 31 when left out")
    return parser.parse_args()


def _rounds(text: str) -> int:
    rounds = int(text)
    if rounds < FEWEST:
        raise argparse.ArgumentTypeError(f"at least {FEWEST}")
    return rounds


sys.exit(main())
