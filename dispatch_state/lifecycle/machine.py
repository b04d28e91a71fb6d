"""How a lifecycle is declared, and the machine that judges it.

A model declares each transition once, as a typed method:

    @transition(IssueStatus.QUEUED, to=IssueStatus.UNASSIGNED)
    def dequeue(self, *, by: Actor, reason: str = "") -> Columns:
        \"\"\"Take the issue off the queue.\"\"\"
        return Columns()

The docstring says what it means, the body returns the columns it sets, and what a caller gets is a
method that fires it and returns the moves made. Everything else (the `transitions` machine, tables,
diagrams, database triggers, test grids) is derived from these declarations. One machine serves all
rows and threads of a class; what it moves is the *firing*, never the row.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar
from uuid import UUID

import peewee
import transitions

from dispatch_state import values
from dispatch_state.errors import GuardRefused, IllegalTransition, InvalidValue
from dispatch_state.lifecycle.door import door
from dispatch_state.lifecycle.interface import Columns, Firing, Guard, Move, Transition
from dispatch_state.storage.fields import word
from dispatch_state.values import listed
from dispatch_state.vocabulary import DecisionType, Status

P = ParamSpec("P")
R = TypeVar("R")
FILL, INK = "#fde68a", "#78350f"
"""The colours of a highlighted status, readable on light and on dark ground."""


# ---- declaring -----------------------------------------------------------------------------------


class Edge(NamedTuple):
    """One source of a trigger: where it leads, what must be true, whose word it takes, what decision it writes."""

    source: Status
    dest: Status
    guards: tuple[Guard, ...]
    word: Guard | None
    decision: DecisionType | None


class Trigger:
    """A named way to move, with an edge for each status it starts from."""

    def __init__(self, body: Callable[..., Columns]) -> None:
        self.name = body.__name__
        self.body = body
        self.meaning = inspect.getdoc(body) or ""
        self.edges: dict[str, Edge] = {}
        self.owned: set[str] = set()
        self.dead_may = False
        signature = inspect.signature(body)
        self.parameters = {name: p for name, p in signature.parameters.items() if name not in ("self", "by", "reason")}
        self.positional = tuple(n for n, p in self.parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD)
        self.defaults = {n: p.default for n, p in self.parameters.items() if p.default is not p.empty}
        self._checks = {n: _BY_NAME.get(n) or _check_for(str(p.annotation)) for n, p in self.parameters.items()}
        self.tells_error = "error" in self.parameters
        self.needs_reason = signature.parameters["reason"].default is inspect.Parameter.empty
        self.required = self.parameters.keys() - self.defaults.keys()

    def checked_reason(self, reason: Any) -> str:
        """The reason of an act; raises `InvalidValue` for what is not text, or blank where one is required."""
        place = f"{self.name}(reason)"
        if self.tells_error:
            told = values.storable(reason, place)
            return "" if told == values.NO_MESSAGE else told
        return (values.words if self.needs_reason else values.text)(reason, place)

    def add(self, sources: tuple[Status, ...], edge: Callable[[Status], Edge]) -> None:
        for source in sources:
            if source in self.edges:
                raise TypeError(f"{self.name}: two transitions from {source}")
            self.edges[source] = edge(source)

    def checked(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The trigger's own arguments by name, defaults filled in, each checked by its annotation.

        Raises:
            InvalidValue: an argument is wrong.
            TypeError: it is called with others than it takes.
        """
        given = {**dict(zip(self.positional, args, strict=False)), **kwargs}
        if len(given) != len(args) + len(kwargs) or not self.required <= given.keys() <= self.parameters.keys():
            raise TypeError(self._misused(args, kwargs))
        bound = {**self.defaults, **given}
        return {name: self._checks[name](value, f"{self.name}({name})") for name, value in bound.items()}

    def _misused(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """What is wrong with a call that passes other arguments than the trigger takes."""
        takes = f"{self.name}() takes {listed((*self.parameters, 'by', 'reason'))}"
        if unknown := [name for name in kwargs if name not in self.parameters]:
            return f"{takes}; not {unknown[0]}{values.closest(unknown[0], (*self.parameters, 'by', 'reason'))}"
        if len(args) > len(self.positional):
            ordered = f"all but {listed(self.positional)}" if self.positional else "each"
            return f"{takes}; {ordered} by name"
        given = {*self.positional[: len(args)], *kwargs}
        if missing := [name for name in self.parameters if name in self.required - given]:
            return f"{takes}; {listed(missing)} is missing"
        return f"{takes}; each once"


Check = Callable[[object, str], Any]


def _check_for(annotation: str) -> Check:
    """What an annotation asks of an argument: text is not blank, a number positive, a row one that was saved."""
    wanted = annotation.removesuffix(" | None")
    check = _CHECKS.get(wanted) or _a_row(wanted)
    if wanted == annotation:
        return check
    return lambda value, place: None if value is None else check(value, place)


def _a_row(model: str) -> Check:
    def check(value: object, place: str) -> object:
        is_row = isinstance(value, peewee.Model) and type(value).__name__ == model
        if not is_row or getattr(value, "is_new", True) or not isinstance(getattr(value, "id", None), UUID):
            raise InvalidValue(f"{place}: takes a saved {model} row, not a value of type {type(value).__name__}")
        return value

    return check


def _json_object(value: object, place: str) -> object:
    values.json_object(value, place)
    values.json_text(value, place)
    return value


_CHECKS: dict[str, Check] = {
    "str": values.words,
    "int": values.positive,
    "bool": values.boolean,
    "dict[str, Any]": _json_object,
}


_BY_NAME: dict[str, Check] = {"error": values.storable}
"""Arguments that a machine writes, whatever their annotation: a failure is always recorded."""


def transition(
    *sources: Status,
    to: Status,
    guards: tuple[Guard, ...] = (),
    word: Guard | None = None,
    decision: DecisionType | None = None,
    sets: tuple[str, ...] = (),
    dead_may: bool = False,
) -> Callable[[Callable[Concatenate[R, P], Columns | list[Move]]], Callable[Concatenate[R, P], list[Move]]]:
    """Declare a trigger on a model; stack it for sources that differ in where they lead or what they ask.

    Args:
        sources: the statuses it starts from.
        to: the status it leads to.
        guards: what must be true, asked of the act and of moves that follow alike.
        word: who may fire it, asked of the act only; anybody when None.
        decision: the decision it writes; a `HUMAN_OVERRIDE` only when a person fires it.
        sets: the columns it owns; no `save` may change them.
        dead_may: whether an errored or completed agent may fire it on itself.
    """

    def declare(body: Callable[Concatenate[R, P], Columns | list[Move]]) -> Callable[Concatenate[R, P], list[Move]]:
        method: Any = body if hasattr(body, "trigger") else _firing_method(body)
        trigger: Trigger = method.trigger
        trigger.add(sources, lambda source: Edge(source, to, guards, word, decision))
        trigger.owned.update(sets)
        trigger.dead_may |= dead_may
        return method  # type: ignore[no-any-return]

    return declare


def _firing_method(body: Any) -> Any:
    trigger = Trigger(body)

    @wraps(body)
    def fire(row: Any, *args: Any, by: Any = None, reason: Any = "", **kwargs: Any) -> list[Move]:
        return door().fire(row, trigger, by, reason, args, kwargs)

    fire.trigger = trigger  # type: ignore[attr-defined]
    return fire


# ---- judging -------------------------------------------------------------------------------------


class _Fired(transitions.Event):
    """An event that decides as the stock one does, for transitions with one condition and no callback.

    Leaves out the log calls, the callback chains that nothing here uses, and the event object that nobody
    reads, and asks the condition without looking up by what name it goes.
    """

    def trigger(self, model: Any, *args: Any, **kwargs: Any) -> bool:
        candidates = self.transitions.get(model.status)
        if candidates is None:
            return super().trigger(model, *args, **kwargs)  # which raises, as it should
        for candidate in candidates:
            condition: Any = candidate.conditions[0].func
            if condition(*args):
                model.status = candidate.dest
                return True
        return False


class _Machine(transitions.Machine):
    event_cls = _Fired


class Lifecycle:
    """The machine of one model: its statuses, its transitions, and the judge of both.

    Args:
        entity: the table's name.
        statuses: every status.
        triggers: every trigger, in the order they are declared.
        births: the statuses a row may be born in, the usual one first.

    Raises:
        TypeError: an unknown, unreachable or trapped status, or a final one with a way out.
    """

    def __init__(
        self, entity: str, statuses: type[Status], triggers: Mapping[str, Trigger], births: tuple[Status, ...]
    ) -> None:
        self.entity = entity
        self.states: tuple[Status, ...] = tuple(statuses)
        self.births = births
        self.initial: Status = births[0]
        self.final: tuple[Status, ...] = tuple(s for s in statuses if s.final)
        self.triggers = dict(triggers)
        self.transitions = tuple(
            Transition(name, edge.source, edge.dest) for name, t in triggers.items() for edge in t.edges.values()
        )
        self.owned = frozenset({"status", "version"}.union(*(t.owned for t in triggers.values())))
        self._check()
        self._machine = self._build()
        self._events = self._machine.events

    def _check(self) -> None:
        known = set(self.states)
        for name, source, dest in self.transitions:
            if source not in known or dest not in known:
                raise TypeError(f"{self.entity}.{name}: {source} -> {dest} names a status it does not have")
            if source.final:
                raise TypeError(f"{self.entity}.{name}: leaves {source}, which is final")
        if unreached := known - self._reachable():
            raise TypeError(f"{self.entity}: no way leads to {listed(sorted(unreached))}")
        if trapped := known - {t.source for t in self.transitions} - set(self.final):
            raise TypeError(f"{self.entity}: no way leads out of {listed(sorted(trapped))}, which is live")

    def _reachable(self) -> set[Status]:
        reached = set(self.births)
        while more := {t.dest for t in self.transitions if t.source in reached} - reached:
            reached |= more
        return reached

    def _build(self) -> transitions.Machine:
        machine = _Machine(
            model=None,
            states=[str(state) for state in self.states],
            initial=str(self.initial),
            auto_transitions=False,
            model_attribute="status",
        )
        for name, trigger in self.triggers.items():
            for edge in trigger.edges.values():
                condition = _condition(edge)
                machine.add_transition(name, str(edge.source), str(edge.dest), conditions=condition)
        return machine

    def legal(self, status: str) -> tuple[str, ...]:
        """The triggers that start from a status, in the order they are declared."""
        return tuple(name for name, trigger in self.triggers.items() if status in trigger.edges)

    def decide(self, firing: Firing) -> Edge:
        """Judge a firing: the edge it takes, its `status` set to where that leads.

        Raises:
            IllegalTransition: no such move from the row's status.
            GuardRefused: a guard says no; `reasons` holds all of them.
        """
        firing.status = source = str(firing.row.__data__["status"])  # transitions knows members by another name
        try:
            moved = self._events[firing.trigger].trigger(firing, firing)
        except transitions.MachineError:
            raise IllegalTransition(self.illegal(firing.row, firing.trigger)) from None
        if not moved:
            raise GuardRefused(refused(firing), tuple(firing.refusals))
        return self.triggers[firing.trigger].edges[source]

    def require(self, row: Any, trigger: str) -> None:
        """Raise `IllegalTransition` when the trigger does not start from where the row is."""
        if row.status not in self.triggers[trigger].edges:
            raise IllegalTransition(self.illegal(row, trigger))

    def illegal(self, row: Any, trigger: str) -> str:
        """Why a trigger is no move from where a row is, and what is."""
        legal = self.legal(row.status)
        way = f"legal here: {listed(legal)}" if legal else "that is final, nothing leads out of it"
        return f"{row} is {row.status}: {trigger} does not start there; {way}"

    # ---- as a picture --------------------------------------------------------------------------

    def to_markdown(self) -> str:
        """The lifecycle as a Markdown table: trigger, from, to, meaning."""
        lines = ["| trigger | from | to | meaning |", "|---|---|---|---|"]
        for name, trigger in self.triggers.items():
            meaning = trigger.meaning.partition("\n\n")[0].replace("\n", " ")
            for dest, sources in _by_dest(trigger):
                lines.append(f"| `{name}` | {listed(sources)} | {dest} | {meaning} |")
        return "\n".join(lines) + "\n"

    def to_mermaid(self, status: str | None = None) -> str:
        """The lifecycle as a Mermaid state diagram.

        Args:
            status: a status to highlight.

        Raises:
            InvalidValue: it has no such status.
        """
        lines = ["stateDiagram-v2", *(f"    [*] --> {birth}" for birth in self.births)]
        lines += [f"    {t.source} --> {t.dest}: {t.trigger}" for t in self.transitions]
        lines += [f"    {state} --> [*]" for state in self.final]
        if status is not None:
            here = word(status, type(self.initial), "status")
            lines += [f"    classDef here fill:{FILL},stroke:{INK},color:{INK}", f"    class {here} here"]
        return "\n".join(lines) + "\n"

    def to_dot(self, status: str | None = None) -> str:
        """The lifecycle in the language of Graphviz; arguments and errors as `to_mermaid`."""
        lines = [f"digraph {self.entity} {{", "    rankdir=LR", "    node [shape=box, style=rounded]"]
        lines += ["    born [shape=point]", *(f"    born -> {birth}" for birth in self.births)]
        lines += [f'    {t.source} -> {t.dest} [label="{t.trigger}"]' for t in self.transitions]
        lines += [f"    {state} [peripheries=2]" for state in self.final]
        if status is not None:
            here = word(status, type(self.initial), "status")
            lines.append(f'    {here} [style="rounded,filled", fillcolor="{FILL}", color="{INK}", fontcolor="{INK}"]')
        return "\n".join([*lines, "}"]) + "\n"


def refused(firing: Firing) -> str:
    """What was asked of a row, and every reason it was refused for."""
    follows = "" if firing.act else f", which follows from move {firing.cause},"
    return f"{firing.row} is {firing.row.status}: {firing.trigger}{follows} was refused: {'; '.join(firing.refusals)}"


def _by_dest(trigger: Trigger) -> Iterator[tuple[Status, list[Status]]]:
    grouped: dict[Status, list[Status]] = {}
    for edge in trigger.edges.values():
        grouped.setdefault(edge.dest, []).append(edge.source)
    yield from grouped.items()


def _condition(edge: Edge) -> Callable[[Firing], bool]:
    guards = edge.guards
    of_an_act = guards if edge.word is None else (edge.word, *guards)

    def every_guard_agrees(firing: Firing) -> bool:
        row, refusals = firing.row, firing.refusals
        for guard in of_an_act if firing.act else guards:
            if (refusal := guard(row, firing)) is not None:
                refusals.append(refusal)
        return not refusals

    return every_guard_agrees
