"""What examples/agent_runner.py runs when it is given no command: a harmless stand-in for an agent.

It writes the prompt from its standard input into a file named after the issue; its working folder is the issue's
worktree.
"""

import os
import sys
from pathlib import Path

page = Path("issues", os.environ["DISPATCH_ISSUE"]).with_suffix(".md")
page.parent.mkdir(exist_ok=True)
page.write_text(sys.stdin.read().strip() + "\n\nDone.\n", encoding="utf-8")
print(f"wrote {page}")
