"""The command that examples/agent_runner.py runs by default: a harmless stand-in for an agent.

It writes the prompt from standard input to a file that is named after the issue. The current folder is the worktree of
the issue.
"""

import os
import sys
from pathlib import Path

page = Path("issues", os.environ["DISPATCH_ISSUE"]).with_suffix(".md")
page.parent.mkdir(exist_ok=True)
page.write_text(sys.stdin.read().strip() + "\n\nDone.\n", encoding="utf-8")
print(f"wrote {page}")
