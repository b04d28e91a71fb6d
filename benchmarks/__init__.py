"""What the library costs, beside the statements it runs and beside what one would write without it.

`python -m benchmarks` runs every case, prints a table, and writes it to `benchmarks/RESULTS.md` with the
machine described. A case compares contenders in one process, round by round in turn, and holds the ratio
of their medians against a limit; the exit code is 1 when one is broken. Absolute times are not promised.

The contender called *raw* plays a tape: the very statements and parameters that the library sent for the
same operations on a copy of the same file, through a bare connection (`tape.py`, `twins.py`).
"""
