"""The public entry points, with a recipe for each argument: how to call it with everything right but that.

They are compared with what the library has, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import asyncio
import inspect
import io
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import dispatch_state
from dispatch_state import ConfigEntry, Human, Issue, Store, SyncState, System, TransitionLog, aio
from dispatch_state.models.row import Row
from dispatch_state.models.tables import EVERY
from tests.world import MAINTAINER, MODELS, TEXTS, WHY, World

NOTHING = object()
"""What a call gives that stores nothing to compare."""


class Entry(NamedTuple):
    """One argument of one entry point.

    make: what the call needs, made once in an open store; call: the call itself, given that and a value;
    it returns what was stored, read afresh, or `NOTHING`. keeps: whether the next value finds what this one left.
    """

    name: str
    argument: str
    make: Callable[[World], Any]
    call: Callable[[Any, Any], Any]
    keeps: bool = False
    in_block: bool = True


# ---- what is fuzzed ----------------------------------------------------------------------------------


def creations() -> dict[str, Callable[[World], dict[str, Any]]]:
    """Good columns for a new row of each table."""
    text = {**TEXTS, "repo_path": "/src"}
    return {
        "epics": lambda w: dict(text),
        "stages": lambda w: {"epic": w.epics("draft"), "name": "a stage"},
        "gates": lambda w: {"stage": w.stages("pending"), "gate_type": "approval", "description": "look"},
        "issues": lambda w: {**w.issue_columns(), "repo_path": "/src"},
        "pull_requests": lambda w: {"issue": w.issues("in_progress"), **w.request_columns()},
        "agents": lambda w: {"agent_type": "coder"},
        "proposals": lambda w: {
            "proposal_type": "tech_stack_choice", "proposer": w.agent(), **TEXTS, "rationale": "simpler"
        },
    }  # fmt: skip


def stored(row: Row, column: str) -> Any:
    return type(row).get_by_id(row._pk).__data__[type(row)._meta.combined[column].name]


def creating(table: str, make: Callable[[World], dict[str, Any]]) -> Iterator[Entry]:
    """Every column, by each of its names, the actor and the reason."""
    model = MODELS[table]
    names = {field.name for field in model._meta.sorted_fields} | {key.object_id_name for key in model._meta.refs}

    def call(columns: dict[str, Any], name: str, value: Any) -> Any:
        given = {key: kept for key, kept in columns.items() if key_of(key) != key_of(name)}
        row = model.create(**given, **{name: value})
        if name in names:
            return stored(row, name)
        return what_the_log_says(row, name)

    def key_of(name: str) -> str:
        return str(model._meta.combined[name].name) if name in model._meta.combined else name

    for name in [*sorted(names), "by", "reason", "no_such_column"]:
        yield Entry(f"{model.__name__}.create", name, make, lambda c, v, n=name: call(c, n, v), keeps=table != "stages")


def what_the_log_says(row: Any, argument: str) -> Any:
    move = TransitionLog.select().where(TransitionLog.entity_id == row.id)
    last = move.order_by(TransitionLog.version.desc()).get()
    return (last.reason or "") if argument == "reason" else NOTHING


def saving(table: str) -> Iterator[Entry]:
    model = MODELS[table]

    def call(row: Any, name: str, value: Any) -> Any:
        row.reload()
        setattr(row, name, value)
        row.save()
        return stored(row, name)

    for field in model._meta.sorted_fields:
        make = lambda w: w.at(table, str(model.machine.initial))  # noqa: E731
        yield Entry(f"{model.__name__}.save", field.name, make, lambda r, v, n=field.name: call(r, n, v), keeps=True)


KEPT_AS = {
    ("assign", "worktree_path"): lambda r: r.worktree_path,
    ("assign", "branch_name"): lambda r: r.branch_name,
    ("run", "process_id"): lambda r: r.process_id,
    ("run", "session_id"): lambda r: r.claude_session_id,
    ("force_approve", "choice"): lambda r: r.chosen_option,
    ("finish_execution", "result"): lambda r: r.execution_result,
    ("fail_execution", "error"): lambda r: r.execution_result["error"],
    ("approve", "comment"): lambda r: [c.content for c in r.comments][-1] if r.comments.count() else None,
}
"""Where a trigger's argument is found afterwards, by trigger and argument."""


def firing(table: str, name: str) -> Iterator[Entry]:
    model, trigger = MODELS[table], MODELS[table].machine.triggers[name]
    source = "voting" if table == "proposals" and "voting" in trigger.edges else str(next(iter(trigger.edges)))

    def make(world: World) -> Any:
        row = world.at(table, source)
        return row, world.arguments(row, name)

    def call(made: Any, argument: str, value: Any) -> Any:
        row, arguments = made
        row.reload()
        getattr(row, name)(**{**arguments, argument: value})
        if argument == "reason" and name not in ("fail", "fail_execution"):
            return what_the_log_says(row, "reason")
        return KEPT_AS.get((name, argument), lambda r: NOTHING)(row.reload())

    def asks(made: Any, argument: str, value: Any) -> Any:
        row, arguments = made
        row.why_not(name, **{**arguments, argument: value})
        return NOTHING

    for argument in (*trigger.parameters, "by", "reason"):
        yield Entry(f"{model.__name__}.{name}", argument, make, lambda m, v, a=argument: call(m, a, v))
        if argument in trigger.parameters:
            at = f"{model.__name__}.why_not({name})"
            yield Entry(at, argument, make, lambda m, v, a=argument: asks(m, a, v), keeps=True)


Call = Callable[..., Any]


def method(
    entry: str, make: Callable[[World], Any], call: Call, good: dict[str, Any], /, **found: Callable[[Any, Any], Any]
) -> Iterator[Entry]:
    """A method called by name with good arguments, all but one.

    Args:
        good: its arguments; one that is made per world is given as a function of what `make` gives.
        found: per argument, where what was stored for it is found, from what `make` and the call gave.
    """

    def fill(made: Any, argument: str, value: Any) -> Any:
        given = {key: kept(made) if inspect.isfunction(kept) else kept for key, kept in good.items()}
        given[argument] = value
        gave = call(made)(**given)
        return found[argument](made, gave) if argument in found else NOTHING

    for argument in good:
        yield Entry(entry, argument, make, lambda m, v, a=argument: fill(m, a, v))


def voting(world: World) -> Any:
    return world.new_proposal(threshold="simple_majority", required_voters=["coder", "architect"]), world.agent()


def methods() -> Iterator[Entry]:
    """Every public method that is neither a creation nor a trigger, on all its arguments."""
    plain = {"by": MAINTAINER, "reason": WHY}
    issue = {"title": "t", "prompt": "p", "issue_type": "bug"}
    draft, stage = lambda w: w.epics("draft"), lambda w: w.stages("pending")
    gate = {"gate_type": "approval", "description": "look", "required_approvers": None}
    reads = lambda column: lambda made, row: stored(row, column)  # noqa: E731
    yield from method("Epic.add_stage", draft, lambda e: e.add_stage, {"name": "n", "description": "d", **plain},
                      name=reads("name"), description=reads("description"))  # fmt: skip
    yield from method("Epic.add_issue", draft, lambda e: e.add_issue, {**issue, **plain}, title=reads("title"))
    yield from method("Stage.add_issue", stage, lambda s: s.add_issue, {**issue, **plain}, prompt=reads("prompt"))
    yield from method("Stage.add_gate", stage, lambda s: s.add_gate, {**gate, **plain},
                      description=reads("description"), required_approvers=reads("required_approvers"))  # fmt: skip
    yield from method("Gate.comment", lambda w: w.gates("pending"), lambda g: g.comment,
                      {"content": "Hm", "by": MAINTAINER}, content=reads("content"))  # fmt: skip
    yield from method("Issue.place", lambda w: (w.new_issue(), w.epics("draft")), lambda m: m[0].place,
                      {"epic_or_stage": lambda m: m[1], "by": MAINTAINER})  # fmt: skip
    yield from method("Issue.reassign", lambda w: (w.issues("assigned"), w.agent()), lambda m: m[0].reassign,
                      {"agent": lambda m: m[1], **plain})  # fmt: skip
    yield from method("Issue.by_status", draft, lambda e: lambda status: list(Issue.by_status(status)),
                      {"status": "queued"})  # fmt: skip
    yield from method("Proposal.vote", voting, lambda m: m[0].vote,
                      {"agent": lambda m: m[1], "decision": "approve", "reasoning": WHY, "confidence": 0.5,
                       "preferred_option": "peewee"},
                      reasoning=lambda m, _: m[0].votes.get().reasoning,
                      confidence=lambda m, _: m[0].votes.get().confidence,
                      preferred_option=lambda m, _: m[0].votes.get().preferred_option)  # fmt: skip
    yield from method("Agent.log", lambda w: (w.agent(), w.new_issue()), lambda m: m[0].log,
                      {"level": "info", "message": "m", "context": None, "issue": lambda m: m[1]},
                      message=reads("message"), context=reads("context"))  # fmt: skip
    yield from method("Agent.heartbeat", lambda w: w.issues("in_progress"), lambda i: i.assigned_agent.heartbeat,
                      {"holding": lambda i: i})  # fmt: skip
    yield from method("Agent.use_tokens", lambda w: w.agent(), lambda a: a.use_tokens, {"count": 1},
                      count=lambda a, _: a.reload().metrics["tokens_used"])  # fmt: skip
    request = lambda w: w.pull_requests("open")  # noqa: E731
    yield from method("PullRequest.record_review", request, lambda p: p.record_review,
                      {"status": "approved", "by": MAINTAINER})  # fmt: skip
    yield from method("PullRequest.record_checks", request, lambda p: p.record_checks,
                      {"passing": True, "by": MAINTAINER},
                      passing=lambda p, _: stored(p, "checks_passing"))  # fmt: skip
    for table in MODELS:
        make = lambda w, t=table: w.at(t, str(MODELS[t].machine.final[0]))  # noqa: E731
        here = MODELS[table].__name__
        yield from method(f"{here}.remove", make, lambda r: r.remove, dict(plain))
        live = lambda w, t=table: w.at(t, str(MODELS[t].machine.initial))  # noqa: E731
        some = next(iter(MODELS[table].machine.triggers))
        yield from method(f"{here}.may", live, lambda r: r.may, {"trigger": some, "by": MAINTAINER})
        yield from method(f"{here}.why_not", live, lambda r: r.why_not, {"trigger": some, "by": MAINTAINER})
        yield from method(f"{here}.diagram", live, lambda r: r.diagram, {"form": "dot"})
        saves = {"only": None, "by": MAINTAINER, "reason": WHY}
        yield from method(f"{here}.save", live, lambda r: r.save, saves)
    for model in EVERY:
        yield from method(f"{model.__name__}.get_by_id", lambda w: None, lambda _, m=model: m.get_by_id, {"pk": None})


def settings() -> Iterator[Entry]:
    yield from method("ConfigEntry.write", lambda w: None, lambda _: ConfigEntry.write, {"key": "k", "value": 1},
                      key=lambda _, __: ConfigEntry.get().key, value=lambda _, __: ConfigEntry.read("k"))  # fmt: skip
    yield from method("ConfigEntry.read", lambda w: None, lambda _: ConfigEntry.read, {"key": "k"})
    yield from method("ConfigEntry.forget", lambda w: None, lambda _: ConfigEntry.forget, {"key": "k"})
    given = {"source": "github", "last_issue_id": 1, "last_pr_id": 1, "etag": "e", "error": "x"}
    yield from method("SyncState.record", lambda w: None, lambda _: SyncState.record, given,
                      source=lambda _, s: stored(s, "id"), last_issue_id=lambda _, s: stored(s, "last_issue_id"),
                      last_pr_id=lambda _, s: stored(s, "last_pr_id"), etag=lambda _, s: stored(s, "etag"),
                      error=lambda _, s: (stored(s, "sync_errors") or [None])[-1])  # fmt: skip


def of_the_store() -> Iterator[Entry]:
    queued = lambda w: (w.store, w.agent(), w.issues("queued"))  # noqa: E731
    claims = {"agent": lambda m: m[1], "repo_path": "/src", "issue_type": "feature", "start": True,
              "process_id": 4711, "session_id": "s"}  # fmt: skip
    yield from method("Store.claim", queued, lambda m: m[0].claim, claims)
    rescues = {"timeout": 120.0, "max_attempts": 3, "idle_timeout": 3600.0}
    yield from method("Store.rescue", queued, lambda m: m[0].rescue, rescues)
    yield from method("Store.history", queued, lambda m: m[0].history, {"row": lambda m: m[2]})
    yield from method("Store.explain", queued, lambda m: m[0].explain, {"row": lambda m: m[2]})
    yield from method("Store.changes", queued, lambda m: m[0].changes, {"after": 0, "limit": 10})
    yield from method("Human", queued, lambda m: Human, {"login": "ada"}, login=lambda m, human: human.login)
    yield from method("System", queued, lambda m: System, {"component": "x"}, component=lambda m, s: s.component)


def outside() -> Iterator[Entry]:
    """What may not be called in a transaction."""
    queued = lambda w: (w.store, w.agent(), w.issues("queued"))  # noqa: E731
    claims = {"agent": lambda m: m[1], "repo_path": "/src", "issue_type": "feature", "start": True,
              "process_id": 4711, "session_id": "s"}  # fmt: skip
    entries = chain(
        method("aio.claim", queued, lambda m: lambda **given: asyncio.run(aio.claim(**given)), claims),
        method("aio.run", queued, lambda m: lambda call: asyncio.run(aio.run(call)), {"call": lambda m: m[0].counts}),
        method("Store.watch", queued, lambda m: lambda **given: next(m[0].watch(**given), None),
               {"after": 0, "timeout": 0.0}),
        method("Store.export", queued, lambda m: m[0].export, {"file": lambda m: io.BytesIO(), "progress": None}),
        method("Store.import_snapshot", queued, lambda m: m[0].import_snapshot,
               {"file": lambda m: io.BytesIO(), "progress": None}),
        method("Store.backup", queued, lambda m: m[0].backup, {"path": "copy.db"}),  # SQLite's: its files come last
    )  # fmt: skip
    for entry in entries:
        yield entry._replace(in_block=False)


def everything() -> Iterator[Entry]:
    for table, make in creations().items():
        yield from creating(table, make)
        yield from saving(table)
        for name in MODELS[table].machine.triggers:
            yield from firing(table, name)
    yield from methods()
    yield from settings()
    yield from of_the_store()
    yield from outside()


# ---- what there is -----------------------------------------------------------------------------------

NOT_FUZZED = {
    *("reload", "legal_triggers", "tally"),  # take nothing
    *(
        "take",
        "unsaved",
        "validate_model",
        "check_columns",
        "checked_columns",
        "insert_line",
        "on_create",
        "why_fixed",
        "owner_id",
        "decision_context",
        "label",
        "protected_columns",
        "why_protected",
        "named_approvers",
        "moment_columns",
        "set_at_creation",
    ),
    *(
        "join_parents",
        "counters",
        "decision_details",
        "option_names",
        "counted",
        "said",
        "ballot",
        "say",
    ),  # between modules
    *("insert", "insert_many", "insert_from", "replace", "replace_many", "bulk_create", "bulk_update"),  # refuse all
    *("set_by_id", "delete_by_id", "delete", "delete_instance", "truncate_table", "update"),
    *("close", "atomic", "now", "tick", "verify", "enforcement_suspended", "needs_human", "counts"),  # take nothing
}
"""Methods that are no entry points, or take no arguments."""


def public() -> set[str]:
    """Every public entry point that takes arguments, by class and name, as the library has them."""
    found = {f"aio.{name}" for name, it in vars(aio).items() if inspect.iscoroutinefunction(it)}
    for owner in (Store, *EVERY):
        for base in owner.__mro__:
            if base.__module__.startswith("dispatch_state"):
                methods = {n for n, it in vars(base).items() if inspect.isfunction(it) or isinstance(it, classmethod)}
                found |= {f"{owner.__name__}.{name}" for name in methods if not name.startswith("_")}
    return {name for name in found if name.partition(".")[2] not in NOT_FUZZED}


def written_elsewhere() -> set[str]:
    """Methods that create or save rows which other methods write: refused whatever they are given."""
    others = [model.__name__ for model in EVERY if model not in MODELS.values()]
    return {f"{name}.{way}" for name in others for way in ("create", "save")}


def forgotten() -> set[str]:
    """Entry points without a recipe."""
    return public() - written_elsewhere() - {entry.name for entry in everything()}


def arguments_left_out() -> set[str]:
    """Named arguments of entry points that no recipe fills."""
    filled: dict[str, set[str]] = {}
    for entry in everything():
        filled.setdefault(entry.name, set()).add(entry.argument)
    wanted = set()
    for name in public() - written_elsewhere():
        owner, _, call = name.partition(".")
        parameters = inspect.signature(
            getattr(aio if owner == "aio" else getattr(dispatch_state, owner), call)
        ).parameters
        named = {n for n, p in parameters.items() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
        wanted |= {f"{name}({one})" for one in named - filled.get(name, named) - {"self", "force_insert", "default"}}
    return wanted
