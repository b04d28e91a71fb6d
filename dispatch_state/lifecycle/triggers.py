"""How a lifecycle is declared.

A model declares each transition once, as a typed method:

    @transition(IssueStatus.ASSIGNED, to=IssueStatus.IN_PROGRESS, allowed=owner, locks=(Lock.AGENTS,))
    def start(self, *, by: Actor, reason: str = "") -> Columns:
        \"\"\"Begin the work; the assigned agent is working.\"\"\"
        return Columns()

The docstring says what the transition means, and the body returns the columns that it sets. The decorator replaces the
method by one that fires the trigger and returns the moves. Everything else (the `transitions` machine, tables,
diagrams, database triggers, locks, test grids) is derived from these declarations.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from dispatch_state import values
from dispatch_state.lifecycle.arguments import argument
from dispatch_state.lifecycle.interface import Columns, Guard, Move
from dispatch_state.lifecycle.locks import Lock, Locks
from dispatch_state.lifecycle.session import session
from dispatch_state.values import listed
from dispatch_state.vocabulary import DecisionType, Status

P = ParamSpec("P")
R = TypeVar("R")


class Edge(NamedTuple):
    """One arrow of a trigger.

    source, dest: the status where it starts, and the status to which it leads.
    guards: what must be true.
    allowed: who may fire it; None for any actor.
    decision: the type of decision that it writes; None for no decision.
    """

    source: Status
    dest: Status
    guards: tuple[Guard, ...]
    allowed: Guard | None
    decision: DecisionType | None


class Trigger:
    """A named way to move a row, with one edge for each status from which it starts.

    Args:
        body: the method as declared: its docstring is the meaning, its parameters are the trigger's arguments.
    """

    def __init__(self, body: Callable[..., Columns]) -> None:
        self.name = body.__name__
        self.body = body
        self.meaning = inspect.getdoc(body) or ""
        self.edges: dict[str, Edge] = {}
        self.owned: set[str] = set()
        self.locks: Locks = ()
        self.ended_agent_may = False
        signature = inspect.signature(body)
        self.parameters = {name: p for name, p in signature.parameters.items() if name not in ("self", "by", "reason")}
        self.arguments = {name: argument(p) for name, p in self.parameters.items()}
        self.positional = tuple(n for n, p in self.parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD)
        self.defaults = {n: p.default for n, p in self.parameters.items() if p.default is not p.empty}
        self.records_error = "error" in self.parameters
        self.needs_reason = signature.parameters["reason"].default is inspect.Parameter.empty
        self.required = self.parameters.keys() - self.defaults.keys()

    def declare_locks(self, locks: Locks) -> None:
        """Set what the trigger locks.

        Args:
            locks: every lock.

        Raises:
            TypeError: another of its declarations has other locks.
        """
        if self.locks and set(self.locks) != set(locks):
            raise TypeError(f"{self.name}: its declarations have different locks")
        self.locks = locks

    def checked_reason(self, reason: Any) -> str:
        """Check the reason of an act.

        Args:
            reason: the reason as given.

        Returns:
            The reason. For triggers that record an error it is made storable instead of refused.

        Raises:
            InvalidValue: it is not text, or it is blank and a reason is required.
        """
        place = f"{self.name}(reason)"
        if self.records_error:
            text = values.storable(reason, place)
            return "" if text == values.NO_MESSAGE else text
        return (values.nonblank_text if self.needs_reason else values.text)(reason, place)

    def add(self, sources: tuple[Status, ...], edge: Callable[[Status], Edge]) -> None:
        """Add an edge for each of several statuses.

        Args:
            sources: the statuses.
            edge: makes the edge for a status.

        Raises:
            TypeError: the trigger already has an edge from one of them.
        """
        for source in sources:
            if source in self.edges:
                raise TypeError(f"{self.name}: two transitions from {source}")
            self.edges[source] = edge(source)

    def checked(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Check the trigger's own arguments, each by its kind.

        Args:
            args: the arguments that were given by position.
            kwargs: the arguments that were given by name.

        Returns:
            All arguments by name, with the defaults filled in.

        Raises:
            InvalidValue: an argument is wrong.
            TypeError: an argument is missing, unknown, or given twice or by position.
        """
        passed = {**dict(zip(self.positional, args, strict=False)), **kwargs}
        if len(passed) != len(args) + len(kwargs) or not self.required <= passed.keys() <= self.parameters.keys():
            raise TypeError(self._misused(args, kwargs))
        bound = {**self.defaults, **passed}
        return {name: self.arguments[name].check(value, f"{self.name}({name})") for name, value in bound.items()}

    def _misused(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """The message for a call with other arguments than the trigger takes."""
        takes = f"{self.name}() takes {listed((*self.parameters, 'by', 'reason'))}"
        if unknown := [name for name in kwargs if name not in self.parameters]:
            return f"{takes}; not {unknown[0]}{values.closest(unknown[0], (*self.parameters, 'by', 'reason'))}"
        if len(args) > len(self.positional):
            ordered = f"all but {listed(self.positional)}" if self.positional else "each"
            return f"{takes}; pass {ordered} by name"
        passed = {*self.positional[: len(args)], *kwargs}
        if missing := [name for name in self.parameters if name in self.required - passed]:
            return f"{takes}; {listed(missing)} is missing"
        return f"{takes}; pass each of them once"


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
    """Declare a trigger on a model. Use the decorator several times when statuses differ in anything but their name.

    Args:
        sources: the statuses from which it starts.
        to: the status to which it leads.
        guards: what must be true, for acts and for moves that follow.
        allowed: who may fire it, for acts only. None allows any actor.
        decision: the type of decision that it writes. A `HUMAN_OVERRIDE` is written only when a person fires it.
        sets: the columns that it owns, which `save` may not change.
        locks: what is locked besides the row and the rows among the arguments.
        ended_agent_may: whether an errored or completed agent may fire it on itself.

    Returns:
        The decorator.

    Raises:
        TypeError: from the decorator: the trigger has two transitions from one status.
    """

    def declare(body: Callable[Concatenate[R, P], Columns | list[Move]]) -> Callable[Concatenate[R, P], list[Move]]:
        method: Any = body if hasattr(body, "trigger") else _firing_method(body)
        trigger: Trigger = method.trigger
        trigger.add(sources, lambda source: Edge(source, to, guards, allowed, decision))
        trigger.owned.update(sets)
        trigger.declare_locks((Lock.ROW, *locks))
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
