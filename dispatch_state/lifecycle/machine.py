"""The machine that decides whether a move is legal.

All rows and threads of a class share one machine. It changes the status of the firing, never that of the row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import transitions

from dispatch_state.errors import GuardRefused, IllegalTransition
from dispatch_state.lifecycle import drawing
from dispatch_state.lifecycle.interface import Firing, Transition
from dispatch_state.lifecycle.triggers import Edge, Trigger
from dispatch_state.storage.fields import word
from dispatch_state.values import listed
from dispatch_state.vocabulary import Status


class _Fired(transitions.Event):
    """An event that decides as the original does, for transitions with one condition and no callback.

    It is faster, because it makes no log calls, runs no callbacks, creates no event data, and calls the condition
    directly instead of looking it up.
    """

    def trigger(self, model: Any, *args: Any, **kwargs: Any) -> bool:
        candidates = self.transitions.get(model.status)
        if candidates is None:
            return super().trigger(model, *args, **kwargs)  # it raises MachineError
        for candidate in candidates:
            condition: Any = candidate.conditions[0].func
            if condition(*args):
                model.status = candidate.dest
                return True
        return False


class _Machine(transitions.Machine):
    event_cls = _Fired


class Lifecycle:
    """The machine of one model: its statuses and transitions, and whether a move is legal.

    Args:
        entity: the table's name.
        statuses: every status.
        triggers: every trigger, in the order of declaration.
        first_statuses: the statuses that a new row may have, the usual one first.

    Raises:
        TypeError: a status is unknown or cannot be reached, a live one has no way out, or a final one has one.
    """

    def __init__(
        self, entity: str, statuses: type[Status], triggers: Mapping[str, Trigger], first_statuses: tuple[Status, ...]
    ) -> None:
        self.entity = entity
        self.states: tuple[Status, ...] = tuple(statuses)
        self.births = first_statuses
        self.initial: Status = first_statuses[0]
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
        """Return the names of the triggers that start from a status, in the order of declaration.

        Args:
            status: the status.
        """
        return tuple(name for name, trigger in self.triggers.items() if status in trigger.edges)

    def decide(self, firing: Firing) -> Edge:
        """Decide whether a firing is legal, and set its `status` to the new one.

        Args:
            firing: the firing.

        Returns:
            The edge that it takes.

        Raises:
            IllegalTransition: the trigger does not start from the row's status.
            GuardRefused: a guard refused; `reasons` contains every reason.
        """
        firing.status = source = str(
            firing.row.__data__["status"]
        )  # the str: transitions would name an enum member differently
        try:
            moved = self._events[firing.trigger].trigger(firing, firing)
        except transitions.MachineError:
            raise IllegalTransition(self.illegal(firing.row, firing.trigger)) from None
        if not moved:
            raise GuardRefused(refused(firing), tuple(firing.refusals))
        return self.triggers[firing.trigger].edges[source]

    def require(self, row: Any, trigger: str) -> None:
        """Check that a trigger starts from the row's status.

        Args:
            row: the row.
            trigger: the trigger's name.

        Raises:
            IllegalTransition: it does not.
        """
        if row.status not in self.triggers[trigger].edges:
            raise IllegalTransition(self.illegal(row, trigger))

    def illegal(self, row: Any, trigger: str) -> str:
        """Return the message for a trigger that does not start from the row's status.

        Args:
            row: the row.
            trigger: the name of what was asked for.

        Returns:
            A sentence with the row, its status, and the triggers that are legal there.
        """
        legal = self.legal(row.status)
        way = f"legal here: {listed(legal)}" if legal else "that is final, nothing leads out of it"
        return f"{row} is {row.status}: {trigger} does not start there; {way}"

    # ---- as a picture --------------------------------------------------------------------------

    def to_markdown(self) -> str:
        """Return the lifecycle as a Markdown table with the columns trigger, from, to and meaning."""
        return drawing.markdown(self.triggers.values())

    def to_mermaid(self, status: str | None = None) -> str:
        """Return the lifecycle as a Mermaid state diagram.

        Args:
            status: a status to highlight, or None.

        Raises:
            InvalidValue: the lifecycle has no such status.
        """
        return drawing.mermaid(self.births, self.transitions, self.final, self._known(status))

    def to_dot(self, status: str | None = None) -> str:
        """Return the lifecycle in the language of Graphviz.

        Args:
            status: a status to highlight, or None.

        Raises:
            InvalidValue: the lifecycle has no such status.
        """
        return drawing.dot(self.entity, self.births, self.transitions, self.final, self._known(status))

    def _known(self, status: str | None) -> str | None:
        return None if status is None else word(status, type(self.initial), "status")


def refused(firing: Firing) -> str:
    """Return the message for a refused firing.

    Args:
        firing: the firing, with its refusals.

    Returns:
        A sentence with the row, its status, the trigger, and every reason.
    """
    follows = "" if firing.act else f", which follows from move {firing.cause},"
    return f"{firing.row} is {firing.row.status}: {firing.trigger}{follows} was refused: {'; '.join(firing.refusals)}"


def _condition(edge: Edge) -> Callable[[Firing], bool]:
    guards = edge.guards
    of_an_act = guards if edge.allowed is None else (edge.allowed, *guards)

    def every_guard_agrees(firing: Firing) -> bool:
        row, refusals = firing.row, firing.refusals
        for guard in of_an_act if firing.act else guards:
            if (refusal := guard(row, firing)) is not None:
                refusals.append(refusal)
        return not refusals

    return every_guard_agrees
