"""Bad input, one bad thing at a time, and the error each is; written by hand, and not from the code.

`CASES` lists `(name, do, error)`: `do(s)` is called with the rows that `ready_rows()` makes in an open, empty store,
and must raise the error of that name in `dispatch_state`, or a subclass of it, and write nothing. `VOTE_CASES` are the
same for `Proposal.vote`. Everything but `do`'s one bad thing is right: where rows would refuse as well, the error
is the one that is looked for first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID

from dispatch_state import (
    SANGHA,
    Agent,
    Decision,
    Epic,
    Gate,
    Human,
    Issue,
    Proposal,
    PullRequest,
    Stage,
    System,
    TransitionLog,
)

Rows = Any  # a SimpleNamespace of rows; Any, because half of what is written here is wrong on purpose


class Case(NamedTuple):
    name: str
    do: Callable[[Rows], object]
    error: str


NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAIVE = datetime(2026, 1, 1)
NAN = float("nan")
NOWHERE = UUID("01900000-0000-7000-8000-000000000000")
"""An id that no row has."""


def new_epic(**columns: Any) -> Epic:
    return Epic.create(**{"title": "Epic", "description": "About it", "repo_path": "/src/app", **columns})


def new_issue(**columns: Any) -> Issue:
    ready = {"title": "Issue", "prompt": "Do it", "issue_type": "bug", "repo_path": "/src/app"}
    return Issue.create(**{**ready, **columns})


def new_gate(s: Rows, **columns: Any) -> Gate:
    return Gate.create(**{"stage": s.stage, "gate_type": "approval", "description": "Is it good?", **columns})


def new_decision_gate(s: Rows, **columns: Any) -> Gate:
    return new_gate(s, **{"gate_type": "decision", "options": ["a", "b"], **columns})


def new_proposal(s: Rows, **columns: Any) -> Proposal:
    ready = {"proposal_type": "tool_integration", "proposer": s.agent, "title": "T", "description": "D"}
    return Proposal.create(**{**ready, "rationale": "Because", **columns})


def new_request(s: Rows, **columns: Any) -> PullRequest:
    ready = {"issue": s.issue, "github_number": 7, "github_url": "https://github.com/a/b/pull/7", "branch": "fix"}
    return PullRequest.create(**{**ready, **columns})


def ready_rows() -> SimpleNamespace:
    """The rows that cases are about.

    - human; epic (draft), its stage (pending), its gate (pending) and an issue in it, `inside` (unassigned)
    - issue (unassigned, in no epic) and its request (draft); agent (idle coder) and its proposal (open)
    - running: an epic that waits at `waiting`, a decision gate of options a and b, for "maintainer" or "bob"
    - spare: another issue in no epic; other: another idle coder; empty: a draft epic without stages
    - gone: an issue that was removed
    """
    human = Human("maintainer")
    s = SimpleNamespace(human=human, epic=new_epic())
    s.stage = s.epic.add_stage("Design")
    s.gate = new_gate(s, required_approvers=["maintainer"])
    s.issue = new_issue(labels=["a"])
    s.agent = Agent.create(agent_type="coder")
    s.request = new_request(s, status="draft")
    s.proposal = new_proposal(s, options=["a", "b"])
    s.inside = s.stage.add_issue(title="Inside", prompt="Do it", issue_type="bug")
    s.spare, s.other, s.empty = new_issue(title="Spare"), Agent.create(agent_type="coder"), new_epic(title="Empty")
    s.running = new_epic()
    running = s.running.add_stage("Design")
    s.waiting = new_decision_gate(SimpleNamespace(stage=running), required_approvers=["maintainer", "bob"])
    done = running.add_issue(title="Issue", prompt="Do it", issue_type="bug")
    s.running.mark_ready(by=human)
    s.running.start(by=human)
    done.reload().assign(s.agent, by=s.agent)
    done.start(by=s.agent)
    done.complete(by=s.agent)
    s.gone = new_issue()
    s.gone.cancel(by=human, reason="not needed")
    s.gone.remove(by=human, reason="not needed")
    for row in (s.epic, s.stage, s.gate, s.issue, s.agent, s.request, s.proposal, s.running, s.waiting):
        row.reload()
    return s


def brief(value: object) -> str:
    """`value` for the name of a case."""
    shown = repr(value)
    return shown if len(shown) <= 30 else f"{shown[:12]}… ({len(shown)} characters)"


def set_and_save(row: Any, column: str, value: object) -> None:
    setattr(row, column, value)
    row.save()


def saving(row: str, column: str, value: object, error: str = "InvalidValue", note: str = "") -> Case:
    """Setting one column of a ready row and saving it; a callable value is called with the rows."""
    name = f"save {row}.{column} = {note or brief(value)}"
    given: Callable[[Rows], object] = value if callable(value) else lambda s: value  # type: ignore[assignment]
    return Case(name, lambda s: set_and_save(getattr(s, row), column, given(s)), error)


def invalid(name: str, do: Callable[[Rows], object]) -> Case:
    return Case(name, do, "InvalidValue")


# ---- unknown words -----------------------------------------------------------------------------------


def unknown_words() -> Iterator[Case]:
    for word in ("story", "BUG", "", 5, None):
        yield invalid(f"issue_type {word!r}", lambda s, w=word: new_issue(issue_type=w))
    for word in ("urgent", "High", 1, None):
        yield invalid(f"priority {word!r}", lambda s, w=word: new_issue(priority=w))
        yield saving("issue", "priority", word)
    for word in ("wizard", "coders", 5):
        yield invalid(f"an issue's agent_type {word!r}", lambda s, w=word: new_issue(agent_type=w))
        yield invalid(f"an agent's agent_type {word!r}", lambda s, w=word: Agent.create(agent_type=w))
        yield saving("issue", "agent_type", word)
    for word in ("veto", "", None):
        yield invalid(f"gate_type {word!r}", lambda s, w=word: new_gate(s, gate_type=w))
    yield saving("gate", "gate_type", "veto")
    yield saving("issue", "issue_type", "story")
    yield invalid("proposal_type", lambda s: new_proposal(s, proposal_type="coup"))
    yield invalid("threshold", lambda s: new_proposal(s, threshold="most"))
    yield invalid("a required voter", lambda s: new_proposal(s, required_voters=["coder", "wizard"]))
    yield invalid("no required voter", lambda s: new_proposal(s, required_voters=[]))
    yield invalid("by_status", lambda s: list(Issue.by_status("finished")))
    yield invalid("review status", lambda s: s.request.record_review("lovely", by=s.human))
    yield invalid("log level", lambda s: s.agent.log("fatal", "Help"))
    yield invalid("unknown trigger in may", lambda s: s.issue.may("finish", by=s.human))
    yield invalid("unknown trigger in why_not", lambda s: s.issue.why_not("finish", by=s.human))
    for model, row in (("issues", "issue"), ("epics", "epic"), ("gates", "gate"), ("agents", "agent")):
        yield saving(row, "status", "lost", note=f"a status that {model} do not have")
    yield invalid("create in an unknown status", lambda s: new_issue(status="lost"))


# ---- actors ------------------------------------------------------------------------------------------

LOGINS_BAD: list[object] = [
    "", " ", "@", " ada", "ada ", "ada lovelace", "ada\n", "a\x00b", "-ada", "_ada", ".ada", "+ada", "/ada", "@@ada",
    "a:b", "a,b", "a'b", "human:ada", "a" * 101, "a" * 101 + "[bot]", "[bot]", "x[bot]x", "x[bot][bot]", "x[dog]",
    "jürgen", "\u0430da", "\u212aen", "\ud800", 5, None, True, b"ada", ["ada"],
]  # fmt: skip
"""What is no login; U+0430 is a Cyrillic a, U+212A the Kelvin sign, which becomes a k in lower case."""
LOGINS_GOOD = [
    "a", "7", "ada", "Ada", "ADA", "a-b", "a_b", "a-b_c-d", "ada-", "a--b", "first.last", "ada@example.org",
    "CORP\\ada",
    "auth0|ada", "a/b", "a+b", "a" * 100, "x[bot]", "X[BOT]", "a" * 100 + "[bot]",
]  # fmt: skip
"""What is one; stored in lower case."""
COMPONENTS_BAD: list[object] = [*LOGINS_BAD, "ada-", "a--b", "a-_b", "a.b", "@ada", "a@b", "a" * 40, "x[bot]"]
"""What is no component's name."""


class Forged:
    """Has what an actor has, and is none."""

    actor = "human:maintainer"
    signature = "maintainer"


ACTORS_BAD: list[tuple[str, object]] = [
    ("text", "human:maintainer"),
    ("a login", "maintainer"),
    ("None", None),
    ("an integer", 5),
    ("the class Human", Human),
    ("the class Agent", Agent),
    ("a look-alike", Forged()),
    ("the id of an agent", NOWHERE),
]


def actors() -> Iterator[Case]:
    for bad in LOGINS_BAD:
        yield invalid(f"Human({brief(bad)})", lambda s, b=bad: Human(b))
    for bad in COMPONENTS_BAD:
        yield invalid(f"System({brief(bad)})", lambda s, b=bad: System(b))
    for name, who in ACTORS_BAD:
        yield invalid(f"{name} fires mark_ready", lambda s, w=who: s.epic.mark_ready(by=w))
        yield invalid(f"{name} fires queue", lambda s, w=who: s.issue.queue(by=w))
        yield invalid(f"{name} approves a gate", lambda s, w=who: s.waiting.approve(choice="a", by=w))
        yield invalid(f"{name} creates", lambda s, w=who: new_epic(by=w))
        yield invalid(f"{name} removes", lambda s, w=who: s.issue.remove(by=w, reason="away"))
        yield invalid(f"{name} comments", lambda s, w=who: s.gate.comment("Hm", by=w))
        yield invalid(f"{name} asks may", lambda s, w=who: s.epic.may("mark_ready", by=w))
    yield invalid("a stage's row fires queue", lambda s: s.issue.queue(by=s.stage))
    yield Case("SANGHA fires what is not its own", lambda s: s.epic.mark_ready(by=SANGHA), "GuardRefused")
    yield Case("SANGHA queues an issue", lambda s: s.issue.queue(by=SANGHA), "GuardRefused")
    unsaved = "an agent that was never saved fires queue"
    yield Case(unsaved, lambda s: s.issue.queue(by=Agent(agent_type="coder")), "GuardRefused")
    yield Case("an agent stops another", lambda s: s.agent.stop(by=s.other, reason="away"), "GuardRefused")
    yield Case("an agent cancels an issue", lambda s: s.issue.cancel(by=s.agent, reason="away"), "GuardRefused")
    yield Case("the system cancels an epic", lambda s: s.epic.cancel(by=System("x"), reason="away"), "GuardRefused")
    yield Case("an agent skips a stage", lambda s: s.stage.skip(by=s.agent, reason="away"), "GuardRefused")
    yield Case("the system skips a gate", lambda s: s.gate.skip(by=System("x"), reason="away"), "GuardRefused")


# ---- reasons -----------------------------------------------------------------------------------------


def reasons() -> Iterator[Case]:
    required = {
        "epic": ("cancel",),
        "stage": ("skip",),
        "gate": ("reject", "skip"),
        "issue": ("request_changes", "block", "release", "cancel", "remove"),
        "agent": ("pause", "stop", "remove"),
        "proposal": ("force_approve", "force_reject", "veto", "roll_back", "remove"),
        "request": ("remove",),
    }
    for row, triggers in required.items():
        for trigger in triggers:
            for why in ("", "  ", "\t\n", "\u00a0", None, 5, b"because"):
                yield invalid(f"{row} {trigger} because {why!r}", firing(row, trigger, why))
    for why in ("", " ", None, 5):
        yield invalid(f"reassign because {why!r}", lambda s, w=why: s.issue.reassign(s.agent, by=s.human, reason=w))
    for why in (None, 5, b"it broke"):
        yield invalid(f"fail with error {why!r}", lambda s, w=why: s.agent.fail(w, by=s.human))
        yield invalid(f"log {why!r}", lambda s, w=why: s.agent.log("info", w))
    for why in (5, None, "a\x00b", "\ud800", "x" * 1_000_001):
        yield invalid(f"queue because {brief(why)}", lambda s, w=why: s.issue.queue(by=s.human, reason=w))


def firing(row: str, trigger: str, reason: object) -> Callable[[Rows], object]:
    return lambda s: getattr(getattr(s, row), trigger)(by=s.human, reason=reason)


# ---- gates -------------------------------------------------------------------------------------------


def gates() -> Iterator[Case]:
    approvers: list[object] = [
        [], ["a", "a"], ["A", "a"], ["a", "@a"], ["any", "bob"], ["bob", "any"], "bob", "", 5, True, {}, {"bob": 1},
        [1], [None], [["bob"]], [""], [" "], ["a b"], ["@@ada"], "any,bob",
    ]  # fmt: skip
    for value in approvers:
        yield invalid(f"required_approvers {value!r}", lambda s, v=value: new_gate(s, required_approvers=v))
        yield saving("gate", "required_approvers", value)
    for options in (None, [], ["a"], ["a", "a"], "ab", [1, 2], ["", "b"], {"a": "b"}):
        yield invalid(f"a decision among {options!r}", lambda s, o=options: new_decision_gate(s, options=o))
    for kind in ("approval", "review", "checkpoint"):
        yield invalid(f"options at {kind}", lambda s, k=kind: new_gate(s, gate_type=k, options=["a", "b"]))
    for person in ("stranger", "maintain", "maintainer2", "bo", "any"):
        yield Case(
            f"approved by {person}", lambda s, p=person: s.waiting.approve(choice="a", by=Human(p)), "GuardRefused"
        )
        yield Case(
            f"rejected by {person}", lambda s, p=person: s.waiting.reject(by=Human(p), reason="no"), "GuardRefused"
        )
    yield Case("approved by an agent", lambda s: s.waiting.approve(choice="a", by=s.agent), "GuardRefused")
    yield Case("approved by the system", lambda s: s.waiting.approve(choice="a", by=System("x")), "GuardRefused")
    yield Case("approved without a choice", lambda s: s.waiting.approve(by=s.human), "GuardRefused")
    yield Case("a choice that is no option", lambda s: s.waiting.approve(choice="c", by=s.human), "GuardRefused")
    yield invalid("a choice that is no text", lambda s: s.waiting.approve(choice=5, by=s.human))
    yield invalid("a comment that is no text", lambda s: s.waiting.approve(comment=5, choice="a", by=s.human))
    yield Case("approved before its stage is submitted", lambda s: s.gate.approve(by=s.human), "GuardRefused")
    yield Case("auto_approve by a person", lambda s: s.waiting.auto_approve(by=s.human), "GuardRefused")
    yield Case(
        "auto_approve of no checkpoint", lambda s: s.waiting.auto_approve(by=System("checkpoint")), "GuardRefused"
    )
    yield saving("waiting", "required_approvers", ["stranger"], "GuardRefused")
    yield saving("waiting", "options", ["a", "b", "c"], "GuardRefused")


# ---- keys --------------------------------------------------------------------------------------------


def keys() -> Iterator[Case]:
    made: dict[str, Callable[..., Callable[[Rows], object]]] = {
        "a stage's epic": lambda key: lambda s: Stage.create(epic=key(s), name="Stage"),
        "a gate's stage": lambda key: lambda s: new_gate(s, stage=key(s)),
        "a pull request's issue": lambda key: lambda s: new_request(s, issue=key(s)),
        "a proposal's proposer": lambda key: lambda s: new_proposal(s, proposer=key(s)),
        "an issue's epic": lambda key: lambda s: new_issue(epic=key(s)),
        "an issue's stage": lambda key: lambda s: new_issue(stage=key(s)),
        "a proposal's issue": lambda key: lambda s: new_proposal(s, related_issue=key(s)),
    }
    for name, create in made.items():
        yield Case(f"{name} is an id of nothing", create(lambda s: NOWHERE), "RowNotFound")
        yield Case(f"{name} is the text of an id of nothing", create(lambda s: str(NOWHERE)), "RowNotFound")
        yield invalid(f"{name} is no id", create(lambda s: "abc"))
        yield invalid(f"{name} is a number", create(lambda s: 1))
        yield invalid(f"{name} is a row of another table", create(lambda s: s.gate))
    for name in ("a stage's epic", "a gate's stage", "a pull request's issue", "a proposal's proposer"):
        yield invalid(f"{name} is None", made[name](lambda s: None))
    yield Case("an issue's stage is gone", lambda s: new_request(s, issue=s.gone), "RowNotFound")
    yield Case(
        "saved: a proposal's issue is gone", lambda s: set_and_save(s.proposal, "related_issue", NOWHERE), "RowNotFound"
    )
    yield Case("a log about no issue", lambda s: s.agent.log("info", "Hm", issue=NOWHERE), "RowNotFound")
    other = "an issue in one epic and in another's stage"
    yield Case(other, lambda s: new_issue(epic=s.running, stage=s.stage), "GuardRefused")
    for value in ("coder", None, 5, NOWHERE):
        yield invalid(f"assign({brief(value)})", lambda s, v=value: s.issue.assign(v, by=s.human))
        yield invalid(f"dispatch({brief(value)})", lambda s, v=value: s.agent.dispatch(v, by=s.human))
        yield invalid(f"reassign({brief(value)})", lambda s, v=value: s.issue.reassign(v, by=s.human, reason="x"))
        yield invalid(f"place({brief(value)})", lambda s, v=value: s.issue.place(v, by=s.human))
    yield invalid("assign to an issue", lambda s: s.issue.assign(s.issue, by=s.human))
    yield invalid("place in a gate", lambda s: s.issue.place(s.gate, by=s.human))
    yield invalid("an id that is no UUID", lambda s: new_issue(id="abc"))
    yield invalid("an id that is a number", lambda s: new_issue(id=1))
    yield invalid("an id that was used before", lambda s: new_issue(id=s.issue.id))


# ---- values ------------------------------------------------------------------------------------------


def nested(depth: int) -> list[Any]:
    return [] if depth == 1 else [nested(depth - 1)]


def endless() -> dict[str, Any]:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    return endless


LONG_JSON = ["x" * 900_000, "y" * 900_000]
"""JSON of more than 1 MiB, in texts that are each short enough."""


def texts() -> Iterator[Case]:
    bad: list[object] = ["a\x00b", "\ud800", "\udfff!", "x" * (10 * 2**20), "x" * 1_000_001, 5, True, b"x", ["x"], None]
    for value in bad:
        yield invalid(f"title {brief(value)}", lambda s, v=value: new_epic(title=v))
        yield invalid(f"prompt {brief(value)}", lambda s, v=value: new_issue(prompt=v))
        yield invalid(f"stage name {brief(value)}", lambda s, v=value: s.epic.add_stage(v))
        yield invalid(f"comment {brief(value)}", lambda s, v=value: s.gate.comment(v, by=s.human))
        yield saving("issue", "title", value, note=f"{brief(value)}")
    for value in bad[:-1]:
        yield invalid(f"label {brief(value)}", lambda s, v=value: new_issue(labels=[v]))
        yield invalid(f"branch {brief(value)}", lambda s, v=value: s.issue.assign(s.agent, branch_name=v, by=s.human))


def times() -> Iterator[Case]:
    for at in (NAIVE, date(2026, 1, 1), "2026-01-01T00:00:00", "tomorrow", "", 5, True):
        name = f"{brief(at)}"
        checkpoint = {"gate_type": "checkpoint", "auto_approve_at": at}
        yield invalid(f"auto_approve_at {name}", lambda s, c=checkpoint: new_gate(s, **c))
        yield invalid(f"voting_deadline {name}", lambda s, a=at: new_proposal(s, voting_deadline=a))
        yield saving("proposal", "voting_deadline", at, note=name)


def numbers() -> Iterator[Case]:
    for value in (2**63, -(2**63) - 1, 10**400, True, 1.0, NAN, "1", [1]):
        name = f"{brief(value)}"
        yield invalid(f"github_id {name}", lambda s, v=value: new_issue(github_id=v))
        yield invalid(f"github_number {name}", lambda s, v=value: new_request(s, github_number=v))
        yield invalid(f"stage_order {name}", lambda s, v=value: s.epic.add_stage("Next", stage_order=v))
        yield invalid(f"process_id {name}", lambda s, v=value: s.agent.run(process_id=v, by=s.human))
        yield invalid(f"use_tokens {name}", lambda s, v=value: s.agent.use_tokens(v))
        yield saving("issue", "github_id", value, note=name)
    yield invalid("use_tokens -1", lambda s: s.agent.use_tokens(-1))
    for value in (True, "3", 1.5, None):
        yield invalid(f"max_attempts {value!r}", lambda s, v=value: s.agent.fail("lost", max_attempts=v, by=s.human))
    for value in (1, 0, "yes", None):
        yield invalid(f"record_checks({value!r})", lambda s, v=value: s.request.record_checks(v, by=s.human))


def json() -> Iterator[Case]:
    for value in ("x", [1], [None], {"a": 1}, {}, 5, True, {"x"}, [["x"]]):
        yield invalid(f"labels {value!r}", lambda s, v=value: new_issue(labels=v))
        yield invalid(f"acceptance_criteria {value!r}", lambda s, v=value: new_epic(acceptance_criteria=v))
        yield invalid(f"affected_components {value!r}", lambda s, v=value: new_proposal(s, affected_components=v))
        yield saving("issue", "labels", value)
    for value in ([], "x", 5, True, None):
        yield invalid(f"result {value!r}", lambda s, v=value: s.proposal.finish_execution(v, by=s.human))
    for value in ([], "x", 5, True):
        yield invalid(f"context {value!r}", lambda s, v=value: s.agent.log("info", "Hm", context=v))
    inside: dict[str, object] = {
        "NaN": NAN,
        "infinity": float("inf"),
        "2**64": 2**64,
        "NUL": "a\x00b",
        "a surrogate": "\ud800",
        "40 levels": nested(40),
        "endless": endless(),
        "over 1 MiB": LONG_JSON,
        "a set": {"x"},
        "bytes": b"x",
        "a time": NOW,
        "a key that is no text": {1: "x"},
        "a key with NUL": {"a\x00b": 1},
    }
    for name, value in inside.items():
        yield invalid(f"a log's context holds {name}", lambda s, v=value: s.agent.log("info", "Hm", context={"it": v}))
        yield invalid(f"a result holds {name}", lambda s, v=value: s.proposal.finish_execution({"it": v}, by=s.human))
    yield invalid("labels over 1 MiB", lambda s: new_issue(labels=LONG_JSON))
    yield saving("issue", "labels", LONG_JSON, note="over 1 MiB")
    for options in ([], ["a", "a"], [""], "ab", [5]):
        yield invalid(f"a proposal's options {options!r}", lambda s, o=options: new_proposal(s, options=o))
    yield invalid("required_voters repeated", lambda s: new_proposal(s, required_voters=["coder", "coder"]))
    yield invalid("required_voters is text", lambda s: new_proposal(s, required_voters="coder"))


# ---- columns and rows --------------------------------------------------------------------------------


def unknown_columns() -> Iterator[Case]:
    yield invalid("titel in create", lambda s: new_epic(titel="Epic"))
    yield invalid("titel in add_issue", lambda s: s.stage.add_issue(titel="I", title="I", prompt="P", issue_type="bug"))
    yield invalid("approver in add_gate", lambda s: s.stage.add_gate("review", "Look", approver=["bob"]))
    yield invalid("odour in add_stage", lambda s: s.epic.add_stage("Next", odour=3))
    yield invalid("type in Agent.create", lambda s: Agent.create(agent_type="coder", type="coder"))
    yield invalid("an epic without a description", lambda s: Epic.create(title="Epic", repo_path="/src/app"))
    yield invalid("an issue without a repo_path", lambda s: Issue.create(title="I", prompt="P", issue_type="bug"))
    yield invalid("a gate without a stage", lambda s: Gate.create(gate_type="review", description="Look"))


OWNED_VALUES: dict[str, dict[str, object]] = {
    "epic": {
        "current_stage": lambda s: s.stage,
        "blocked_at_gate": lambda s: s.gate,
        "completed_at": NOW,
        "status": "ready",
    },
    "stage": {"started_at": NOW, "completed_at": NOW, "status": "in_progress"},
    "gate": {"approved_by": "maintainer", "approved_at": NOW, "rejection_reason": "no", "status": "approved"},
    "waiting": {"chosen_option": "a"},
    "issue": {
        "assigned_agent": lambda s: s.agent,
        "assigned_at": NOW,
        "completed_at": NOW,
        "worktree_path": "/tmp/w",
        "branch_name": "fix",
        "status": "queued",
    },
    "request": {"merged_at": NOW, "status": "open"},
    "agent": {
        "current_issue": lambda s: s.issue,
        "worktree_path": "/tmp/w",
        "process_id": 1,
        "claude_session_id": "abc",
        "last_heartbeat": NOW,
        "completed_at": NOW,
        "metrics": {"issues_completed": 99},
        "status": "starting",
    },
    "proposal": {
        "chosen_option": "a",
        "resolved_at": NOW,
        "executed_at": NOW,
        "execution_result": {"success": True},
        "forced_by": "maintainer",
        "force_reason": "because",
        "vetoed_by": "maintainer",
        "veto_reason": "because",
        "status": "voting",
    },
}
"""A change of each owned column that would be a good value, were it anybody's to set."""


def owned_columns() -> Iterator[Case]:
    for row, changes in OWNED_VALUES.items():
        for column, value in changes.items():
            yield saving(row, column, value)
        yield saving(row, "version", 9)
        yield saving(row, "id", lambda s: NOWHERE, note="another")
        yield saving(row, "started_at" if row == "agent" else "created_at", NOW)


def parents() -> Iterator[Case]:
    yield saving("stage", "epic", lambda s: s.running, note="another")
    yield saving("gate", "stage", lambda s: s.waiting.stage, note="another")
    yield saving("issue", "epic", lambda s: s.epic, note="one")
    yield saving("issue", "stage", lambda s: s.stage, note="one")
    yield saving("request", "issue", lambda s: s.spare, note="another")
    yield saving("proposal", "proposer", lambda s: s.other, note="another")


def presets() -> Iterator[Case]:
    """Births with what only a transition sets."""
    creations: dict[str, Callable[..., object]] = {
        "epic": lambda s, **preset: new_epic(**preset),
        "stage": lambda s, **preset: s.epic.add_stage("Next", **preset),
        "gate": lambda s, **preset: new_gate(s, **preset),
        "waiting": lambda s, **preset: new_decision_gate(s, **preset),
        "issue": lambda s, **preset: new_issue(**preset),
        "request": lambda s, **preset: new_request(s, **preset),
        "agent": lambda s, **preset: Agent.create(agent_type="coder", **preset),
        "proposal": lambda s, **preset: new_proposal(s, options=["a", "b"], **preset),
    }
    statuses = {"issue": "done", "request": "merged", "agent": "working", "proposal": "approved", "waiting": "approved"}
    for row, made in creations.items():
        preset = {**OWNED_VALUES[row], "version": 2, "status": statuses.get(row, OWNED_VALUES[row].get("status"))}
        for column, value in preset.items():
            given = value if callable(value) else lambda s, v=value: v
            yield invalid(f"a {row} made with {column}", lambda s, b=made, c=column, g=given: b(s, **{c: g(s)}))


def gone_rows() -> Iterator[Case]:
    yield Case("save a row that is gone", lambda s: set_and_save(s.gone, "title", "Other"), "RowNotFound")
    yield Case("reload a row that is gone", lambda s: s.gone.reload(), "RowNotFound")
    yield Case("fire on a row that is gone", lambda s: s.gone.queue(by=s.human), "RowNotFound")
    yield Case("remove a row that is gone", lambda s: s.gone.remove(by=s.human, reason="away"), "RowNotFound")
    yield Case("may on a row that is gone", lambda s: s.gone.may("queue", by=s.human), "RowNotFound")
    yield Case("remove a live row", lambda s: s.issue.remove(by=s.human, reason="away"), "IllegalTransition")
    for row in ("epic", "stage", "gate", "agent", "request", "proposal"):
        name = f"remove a live {row}"
        yield Case(name, lambda s, r=row: getattr(s, r).remove(by=s.human, reason="away"), "IllegalTransition")


def unsaved_changes() -> Iterator[Case]:
    yield invalid("queue with another title", lambda s: (setattr(s.issue, "title", "T"), s.issue.queue(by=s.human)))
    yield invalid(
        "queue with labels changed in place", lambda s: (s.issue.labels.append("b"), s.issue.queue(by=s.human))
    )
    yield invalid(
        "mark_ready with another title", lambda s: (setattr(s.epic, "title", "T"), s.epic.mark_ready(by=s.human))
    )
    new: dict[str, Any] = {"title": "I", "prompt": "P", "issue_type": "bug", "repo_path": "/src/app"}
    yield invalid("queue what was never saved", lambda s: Issue(**new).queue(by=s.human))


def peewee_writes() -> Iterator[Case]:
    """Peewee's own ways to write past the log."""
    rows = {
        Epic: "epic", Stage: "stage", Gate: "gate", Issue: "issue", PullRequest: "request", Agent: "agent",
        Proposal: "proposal",
    }  # fmt: skip
    for model, row in rows.items():
        data = {"title": "T"} if "title" in model._meta.fields else {}
        at = f"{model.__name__}."
        ways: dict[str, Callable[[Rows], object]] = {
            "insert": lambda s, m=model, d=data: m.insert(**d).execute(),
            "insert with a dict": lambda s, m=model, d=data: m.insert(d).execute(),
            "insert_many": lambda s, m=model, d=data: m.insert_many([d]).execute(),
            "replace": lambda s, m=model, d=data: m.replace(**d).execute(),
            "replace_many": lambda s, m=model, d=data: m.replace_many([d]).execute(),
            "insert_from": lambda s, m=model: m.insert_from(m.select(m.id), [m.id]).execute(),
            "bulk_create": lambda s, m=model, r=row: m.bulk_create([getattr(s, r)]),
            "bulk_update of status": lambda s, m=model, r=row: m.bulk_update([getattr(s, r)], [m.status]),
            "set_by_id": lambda s, m=model, r=row: m.set_by_id(getattr(s, r).id, {"status": "done"}),
            "delete": lambda s, m=model: m.delete().execute(),
            "delete with where": lambda s, m=model, r=row: m.delete().where(m.id == getattr(s, r).id).execute(),
            "delete_by_id": lambda s, m=model, r=row: m.delete_by_id(getattr(s, r).id),
            "delete_instance": lambda s, r=row: getattr(s, r).delete_instance(),
            "delete_instance, recursive": lambda s, r=row: getattr(s, r).delete_instance(recursive=True),
            "update of status": lambda s, m=model: m.update(status=m.machine.final[0]).execute(),
            "update of status, by field": lambda s, m=model: m.update({m.status: m.machine.final[0]}).execute(),
            "update of version": lambda s, m=model: m.update(version=m.version + 1).execute(),
            "update of id": lambda s, m=model: m.update(id=NOWHERE).execute(),
        }
        for way, do in ways.items():
            yield invalid(at + way, do)
    yield invalid("Issue.update of an owned column", lambda s: Issue.update(assigned_agent=s.agent).execute())
    yield invalid("Issue.update of an owned key", lambda s: Issue.update(assigned_agent_id=s.agent.id).execute())
    yield invalid("Issue.update of a parent", lambda s: Issue.update(epic=s.epic).execute())
    yield invalid("Epic.update of a neighbour column", lambda s: Epic.update(blocked_at_gate=None).execute())
    for record in (Decision, TransitionLog):
        at = f"{record.__name__}."
        yield invalid(at + "delete", lambda s, m=record: m.delete().execute())
        yield invalid(at + "update", lambda s, m=record: m.update(created_at=NOW).execute())
        yield invalid(at + "insert", lambda s, m=record: m.insert(created_at=NOW).execute())
        yield invalid(at + "create", lambda s, m=record: m.create(created_at=NOW))


def heartbeats() -> Iterator[Case]:
    for holding in ("nonsense", 5, "", NOWHERE.hex[:5]):
        yield invalid(f"heartbeat holding {holding!r}", lambda s, h=holding: s.agent.heartbeat(holding=h))
    yield invalid("heartbeat holding an epic", lambda s: s.agent.heartbeat(holding=s.epic))
    yield Case("heartbeat holding nothing", lambda s: s.agent.heartbeat(holding=s.issue), "GuardRefused")
    yield Case("heartbeat holding what is gone", lambda s: s.agent.heartbeat(holding=NOWHERE), "GuardRefused")


def frozen_columns() -> Iterator[Case]:
    """Columns that are anybody's, but not any more where the row stands."""
    order = "stage_order of an epic that runs"
    yield Case(order, lambda s: set_and_save(s.waiting.stage, "stage_order", 5), "GuardRefused")
    yield Case("a stage_order that is taken", lambda s: s.epic.add_stage("Other", stage_order=0), "GuardRefused")
    yield Case("a gate in a stage that waits", lambda s: new_gate(s, stage=s.waiting.stage), "GuardRefused")
    yield Case("an issue in a stage that waits", lambda s: new_issue(stage=s.waiting.stage), "GuardRefused")
    yield Case("an epic without a stage is ready", lambda s: s.empty.mark_ready(by=s.human), "GuardRefused")
    yield Case("no such move", lambda s: s.issue.complete(by=s.human), "IllegalTransition")
    yield Case("an agent's pull request for another's issue", lambda s: new_request(s, by=s.agent), "GuardRefused")
    queued = "an issue queued before its epic runs"
    yield Case(queued, lambda s: s.inside.queue(by=s.human), "GuardRefused")


def votes() -> Iterator[Case]:
    def vote(*words: object, **more: object) -> Callable[[Rows], object]:
        return lambda s: s.proposal.vote(s.agent, *words, **more)

    for decision in ("yes", "Approve", "", None, 5):
        yield invalid(f"vote {decision!r}", vote(decision, "It is good"))
    for reasoning in ("", "  ", None, 5, "a\x00b"):
        yield invalid(f"vote because {reasoning!r}", vote("approve", reasoning))
    for confidence in (NAN, float("inf"), 1.5, -0.1, "0.5", True):
        yield invalid(f"vote with confidence {confidence!r}", vote("approve", "It is good", confidence=confidence))
    yield invalid("vote for an option that is no text", vote("approve", "It is good", preferred_option=5))
    yield Case("vote for no option of it", vote("approve", "It is good", preferred_option="c"), "GuardRefused")
    for voter in ("coder", None, Human("maintainer")):
        yield invalid(f"{voter!r} votes", lambda s, v=voter: s.proposal.vote(v, "approve", "It is good"))


CASES: list[Case] = [
    *unknown_words(),
    *actors(),
    *reasons(),
    *gates(),
    *keys(),
    *texts(),
    *times(),
    *numbers(),
    *json(),
    *unknown_columns(),
    *owned_columns(),
    *parents(),
    *presets(),
    *gone_rows(),
    *unsaved_changes(),
    *peewee_writes(),
    *heartbeats(),
    *frozen_columns(),
]
VOTE_CASES: list[Case] = [*votes()]
