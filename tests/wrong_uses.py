"""What type checkers must report, each line by the codes that stand behind it: those of pyright begin with `report`.

`tests/test_typing.py` reads it; nobody runs it. mypy compares an enumeration of texts with any text, so a status
that does not exist is found by pyright alone.
"""

from dispatch_state import Agent, Epic, EpicStatus, Gate, Human, Issue, IssueStatus, Proposal, PullRequest, Stage, Store


def columns(me: Human, epic: Epic, stage: Stage, issue: Issue, agent: Agent) -> None:
    """Unknown, missing, mistyped and misplaced columns."""
    Epic.create(titel="x", title="x", description="x", repo_path="/x")  # call-arg reportCallIssue
    Stage.create(epic=epic, naem="x", name="x")  # call-arg reportCallIssue
    Gate.create(stage=stage, gate_type="review", description="x", approvers=[])  # call-arg reportCallIssue
    Issue.create(titel="x", title="x", prompt="x", issue_type="bug")  # call-arg reportCallIssue
    PullRequest.create(issue=issue, github_number=1, github_url="x", brunch="x", branch="x")  # call-arg reportCallIssue
    Agent.create(agent_type="coder", agent_typ="coder")  # call-arg reportCallIssue
    Proposal.create(proposer=agent)  # call-arg reportCallIssue
    Issue.create(title="x", prompt="x")  # call-arg reportCallIssue
    Issue.create(title="x", prompt="x", issue_type="bug", status="done")  # call-arg reportCallIssue
    Issue.create(title=3, prompt="x", issue_type="bug")  # arg-type reportArgumentType
    Issue.create(title="x", prompt="x", issue_type="bug", labels="x")  # arg-type reportArgumentType
    Issue.create(title="x", prompt="x", issue_type="bug", epic=stage)  # arg-type reportArgumentType
    Agent.create(agent_type="coder", by="me")  # arg-type reportArgumentType
    epic.add_stage("x", order=1)  # call-arg reportCallIssue
    stage.add_gate("review", "x", ["me"], approvers=[])  # call-arg reportCallIssue
    epic.add_issue(title="x", prompt="x", issue_type="bug", stage=stage)  # call-arg reportCallIssue
    stage.add_issue(titel="x", prompt="x", issue_type="bug")  # call-arg reportCallIssue


def statuses(epic: Epic, issue: Issue) -> None:
    """A status that is none, or another model's; text that is one is compared as ever."""
    print(issue.status == "queued")
    print(epic.status in ("draft", EpicStatus.READY))
    print(epic.status == "nonsense")  # reportUnnecessaryComparison
    print(issue.priority == "nonsense")  # reportUnnecessaryComparison
    print(epic.status == IssueStatus.DONE)  # comparison-overlap reportUnnecessaryComparison
    print(EpicStatus.NONSENSE)  # attr-defined reportAttributeAccessIssue
    print(epic.status.finale)  # attr-defined reportAttributeAccessIssue
    print(Epic.status.finale)  # attr-defined reportAttributeAccessIssue
    epic.status.value.nonsense()  # attr-defined reportAttributeAccessIssue
    assert Issue.select().where(Issue.status == "queued", Issue.status.in_(["done", IssueStatus.BLOCKED]))
    issue.priority = "high"
    issue.priority = 3  # assignment reportAttributeAccessIssue


def every_status() -> None:
    """Of every model."""
    print(Epic.get().status == 3)  # comparison-overlap reportUnnecessaryComparison
    print(Stage.get().status == 3)  # comparison-overlap reportUnnecessaryComparison
    print(Gate.get().status == 3)  # comparison-overlap reportUnnecessaryComparison
    print(Issue.get().status == 3)  # comparison-overlap reportUnnecessaryComparison
    print(PullRequest.get().status == 3)  # comparison-overlap reportUnnecessaryComparison
    print(Agent.get().status == 3)  # comparison-overlap reportUnnecessaryComparison
    print(Proposal.get().status == 3)  # comparison-overlap reportUnnecessaryComparison


def triggers(store: Store, me: Human, issue: Issue, agent: Agent) -> None:
    """Of a row of the wrong model, or with wrong arguments."""
    issue.approve(by=me)  # attr-defined reportAttributeAccessIssue
    issue.queue()  # call-arg reportCallIssue
    issue.cancel(by=me)  # call-arg reportCallIssue
    issue.assign(issue, by=me)  # arg-type reportArgumentType
    row = store.needs_human()[0].row
    row.approve(by=me)  # union-attr reportAttributeAccessIssue
    row.nonsense()  # union-attr reportAttributeAccessIssue
    if isinstance(row, Gate):
        row.approve(by=me, choice="x")
        row.queue(by=me)  # attr-defined reportAttributeAccessIssue
    store.claim(agent).start(by=agent)  # union-attr reportOptionalMemberAccess
    if isinstance(row, PullRequest):
        row.merge(by=me)
