"""How a lifecycle is declared.

A model declares each transition once, as a typed method:

    @transition(IssueStatus.ASSIGNED, to=IssueStatus.IN_PROGRESS, allowed=owner, locks=(Lock.AGENTS,))
    def start(self, *, by: Actor, reason: str = "") -> Columns:
        \"\"\"Begin the work; the assigned agent is working.\"\"\"
        return Columns()

The docstring says what it means, the body returns the columns it sets, and what a caller gets is a method that fires it
and returns the moves made. Everything else (the `transitions` machine, tables, diagrams, database triggers, what is
locked, test grids) is derived from these declarations.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from dispatch_state import values
from dispatch_state.lifecycle.arguments import argument
from dispatch_state.lifecycle.interface import Columns, Guard, Lock, Locks, Move, session
from dispatch_state.values import listed
from dispatch_state.vocabulary import DecisionType, Status

P = ParamSpec("P")
R = TypeVar("R")


class Edge(NamedTuple):
    """One source of a trigger: where it leads, what must be true, who may fire it, which decision it writes."""

    source: Status
    dest: Status
    guards: tuple[Guard, ...]
    allowed: Guard | None
    decision: DecisionType | None


class Trigger:
    """A named way to move, with an edge for each status it starts from."""

    def __init__(self, body: Callable[..., Columns]) -> None:
        self.name = body.__name__
        self.body = body
        self.meaning = inspect.getdoc(body) or ""
        self.edges: dict[str, Edge] = {}
        self.owned: set[str] = set()
        self.locks: Locks = (Lock.ROW,)
        self.ended_agent_may = False
        signature = inspect.signature(body)
        self.parameters = {name: p for name, p in signature.parameters.items() if name not in ("self", "by", "reason")}
        self.arguments = {name: argument(p) for name, p in self.parameters.items()}
        self.positional = tuple(n for n, p in self.parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD)
        self.defaults = {n: p.default for n, p in self.parameters.items() if p.default is not p.empty}
        self.records_error = "error" in self.parameters
        self.needs_reason = signature.parameters["reason"].default is inspect.Parameter.empty
        self.required = self.parameters.keys() - self.defaults.keys()

    def checked_reason(self, reason: Any) -> str:
        """The reason of an act; raises `InvalidValue` for what is not text, or blank where one is required."""
        place = f"{self.name}(reason)"
        if self.records_error:
            stored = values.storable(reason, place)
            return "" if stored == values.NO_MESSAGE else stored
        return (values.nonblank_text if self.needs_reason else values.text)(reason, place)

    def add(self, sources: tuple[Status, ...], edge: Callable[[Status], Edge]) -> None:
        for source in sources:
            if source in self.edges:
                raise TypeError(f"{self.name}: two transitions from {source}")
            self.edges[source] = edge(source)

    def checked(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The trigger's own arguments by name, defaults filled in, each checked by its kind.

        Raises:
            InvalidValue: an argument is wrong.
            TypeError: it is called with others than it takes.
        """
        given = {**dict(zip(self.positional, args, strict=False)), **kwargs}
        if len(given) != len(args) + len(kwargs) or not self.required <= given.keys() <= self.parameters.keys():
            raise TypeError(self._misused(args, kwargs))
        bound = {**self.defaults, **given}
        return {name: self.arguments[name].check(value, f"{self.name}({name})") for name, value in bound.items()}

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


def transition(
    *sources: Status,
    to: Status,
    guards: tuple[Guard, ...] = (),
    allowed: Guard | None = None,
    decision: DecisionType | None = None,
    sets: tuple[str, ...] = (),
    locks: Locks = (),
    ended_agent_may: bool = False,
) -> Callable[[Callable[Concatenate[R, P], Columns | list[Move]]], Callable[Concatenate[R, P], list[Move]]]:
    """Declare a trigger on a model; stack it for sources that differ in where they lead or what they ask.

    Args:
        sources: the statuses it starts from.
        to: the status it leads to.
        guards: what must be true, asked of the act and of moves that follow alike.
        allowed: who may fire it, asked of the act only; anybody when None.
        decision: the decision it writes; a `HUMAN_OVERRIDE` only when a person fires it.
        sets: the columns it owns; no `save` may change them.
        locks: what is locked before the row is judged, beside the row and the rows among the arguments.
        ended_agent_may: whether an errored or completed agent may fire it on itself.
    """

    def declare(body: Callable[Concatenate[R, P], Columns | list[Move]]) -> Callable[Concatenate[R, P], list[Move]]:
        method: Any = body if hasattr(body, "trigger") else _firing_method(body)
        trigger: Trigger = method.trigger
        trigger.add(sources, lambda source: Edge(source, to, guards, allowed, decision))
        trigger.owned.update(sets)
        trigger.locks = tuple(dict.fromkeys((*trigger.locks, *locks)))
        trigger.ended_agent_may |= ended_agent_may
        return method  # type: ignore[no-any-return]

    return declare


def _firing_method(body: Any) -> Any:
    trigger = Trigger(body)

    @wraps(body)
    def fire(row: Any, *args: Any, by: Any = None, reason: Any = "", **kwargs: Any) -> list[Move]:
        return session().fire(row, trigger, by, reason, args, kwargs)

    fire.trigger = trigger  # type: ignore[attr-defined]
    return fire
