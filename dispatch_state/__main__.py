"""`python -m dispatch_state`, which is the command `dispatch-state`."""

import sys

from dispatch_state.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
