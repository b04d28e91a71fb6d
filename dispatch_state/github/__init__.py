"""What GitHub tells, as rows: deliveries of webhooks are applied, each as if it came once.

    if github.signed(secret, body, headers.get("X-Hub-Signature-256")):
        told = github.apply_event(headers["X-GitHub-Event"], json.loads(body))

Rows are found by GitHub's numbers and addresses, made when they are new, and brought up to date; statuses move by
triggers alone, as `System("github")`. What the lifecycles refuse is kept in `sync_state.sync_errors` of the source
"github", never forced, and may be sent again. One that was applied, or is older than one that was, changes nothing:
how far each of GitHub's objects has come is kept in `config_store`. There is no network code here.

A title or prompt changed here stays until it is edited there, a type or priority until the labels change there.
Once an issue is released (queued, or placed in a stage), only insiders change its text: an owner, member or
collaborator who wrote it, or a person who edits what another wrote, for which GitHub asks the right to write. A
stranger's edit is kept in `sync_errors`, and `needs_human` lists the issue. Only reviews of insiders count, the last
verdict of them. Checks pass when every suite of the last commit does.

An issue that is closed there as completed is cancelled here if it was not begun. If it was, it is done; while a pull
request of it is open it stays, and `needs_human` lists it. Closed for another reason it is cancelled. A pull request
from a fork counts once it is merged, unless an insider opened it: a stranger would move an issue by naming it.

What is read is documented at https://docs.github.com/webhooks/webhook-events-and-payloads.
"""

from dispatch_state.github.events import LONGEST, SOURCE, Applied, apply_event, issue_from, pull_request_from, signed

__all__ = ["LONGEST", "SOURCE", "Applied", "apply_event", "issue_from", "pull_request_from", "signed"]
