"""The machine that judges a lifecycle.

One machine serves all rows and threads of a class; what it moves is the *firing*, never the row.
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
        """Its lifecycle as a Markdown table: trigger, from, to, meaning."""
        return drawing.markdown(self.triggers.values())

    def to_mermaid(self, status: str | None = None) -> str:
        """Its lifecycle as a Mermaid state diagram.

        Args:
            status: a status to highlight.

        Raises:
            InvalidValue: it has no such status.
        """
        return drawing.mermaid(self.births, self.transitions, self.final, self._known(status))

    def to_dot(self, status: str | None = None) -> str:
        """Its lifecycle in the language of Graphviz; arguments and errors as `to_mermaid`."""
        return drawing.dot(self.entity, self.births, self.transitions, self.final, self._known(status))

    def _known(self, status: str | None) -> str | None:
        return None if status is None else word(status, type(self.initial), "status")


def refused(firing: Firing) -> str:
    """What was asked of a row, and every reason it was refused for."""
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
