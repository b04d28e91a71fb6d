"""Applies deliveries of GitHub's webhooks to the store: each delivery exactly once, however often it comes.

    if github.signed(secret, body, headers.get("X-Hub-Signature-256")):
        applied = github.apply_event(headers["X-GitHub-Event"], json.loads(body))

Rows are found by GitHub's numbers and URLs, created when they are new, and updated. Statuses change only through
triggers, fired by `System("github")`. What the lifecycles refuse is recorded in `sync_state.sync_errors` of the source
"github". It is never forced, and the delivery may be sent again. A delivery that was applied before, or that is older
than one that was, changes nothing: `config_store` records how far each of GitHub's objects was applied. There is no
network code here.

A title or prompt that was changed here stays until it is edited on GitHub, and a type or priority until the labels
change there. Once an issue is released (queued, or placed in a stage), only insiders change its text: an owner, member
or collaborator who wrote it, or a person who edits what somebody else wrote, for which GitHub demands write access. A
stranger's edit is recorded in `sync_errors`, and `needs_human` lists the issue. Only the reviews of insiders count, and
the last verdict of them is the one that counts. Checks pass when every check suite of the last commit passed.

When an issue is closed on GitHub as completed, it is cancelled here if nobody had begun it, and otherwise it is done.
While a pull request of it is open, it stays and `needs_human` lists it. When it is closed for another reason, it is
cancelled. A pull request from a fork counts once it is merged, or when an insider opened it: otherwise a stranger could
move an issue by naming it.

The fields of the payloads are documented at
https://docs.github.com/webhooks/webhook-events-and-payloads.
"""

from dispatch_state.github.delivery import SOURCE, Applied
from dispatch_state.github.events import LONGEST, apply_event
from dispatch_state.github.issues import issue_from
from dispatch_state.github.pull_requests import pull_request_from
from dispatch_state.github.signatures import signed

__all__ = ["LONGEST", "SOURCE", "Applied", "apply_event", "issue_from", "pull_request_from", "signed"]
