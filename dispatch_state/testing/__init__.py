"""A testing kit for programs that keep their state in this library; takes the extra `testing`.

    payloads(model)       columns of new rows, awkward and legal
    rows(model, status)   new rows in a status, each with a history
    present_rows(model)   rows that are in the store already
    triggers(row)         ways to move a row, legal and illegal
    attempt(row, …)       a trigger is fired, and what comes of it is what was promised
    scratch_store()       a store for one test, on either database
    assert_sound(store)   no invariant of the lifecycles is broken
    Walk                  a state machine over all of it, ready to subclass

`examples/own_tests.py` tests a runner of forty lines with it.
"""

try:
    from dispatch_state.testing.outcomes import attempt
    from dispatch_state.testing.scratch import Clock, assert_sound, scratch_store, scratch_target
    from dispatch_state.testing.strategies import payloads, present_rows, rows, triggers
    from dispatch_state.testing.walks import StoreMachine, Walk, run
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "hypothesis":
        raise
    raise ImportError('dispatch_state.testing takes hypothesis: pip install "dispatch-state[testing]"') from None

__all__ = [
    "Clock",
    "StoreMachine",
    "Walk",
    "assert_sound",
    "attempt",
    "payloads",
    "present_rows",
    "rows",
    "run",
    "scratch_store",
    "scratch_target",
    "triggers",
]
