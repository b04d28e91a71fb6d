"""The command line: `dispatch-state`, and `python -m dispatch_state`."""
