"""A kit for testing programs that use this library; it needs the extra `testing`.

    payloads(model)       a strategy for columns of new rows: valid but difficult data
    rows(model, status)   a strategy for new rows in a status, each with a history
    present_rows(model)   a strategy for rows that are already in the store
    triggers(row)         a strategy for firings on a row, legal and illegal ones
    attempt(row, …)       fires a trigger, and checks the outcome against the lifecycle
    scratch_store()       a store for one test, on either database
    assert_sound(store)   checks the invariants of the lifecycles
    Walk                  a state machine that does all of this, ready to subclass

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
    raise ImportError('dispatch_state.testing needs hypothesis: pip install "dispatch-state[testing]"') from None

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
