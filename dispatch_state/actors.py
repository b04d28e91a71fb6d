"""Who acts: a person, a component of the system, the vote of the agents, or an agent's row.

An actor is a typed value, never free text: text that says `human:…` is how an agent would forge a
person. This library does not authenticate people; whoever makes a `Human` has done so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Protocol

from dispatch_state.errors import InvalidValue
from dispatch_state.values import shown

_LOGIN = re.compile(r"[a-z0-9][a-z0-9._+@\\|/-]{0,99}(?:\[bot\])?")
_COMPONENT = re.compile(r"[a-z0-9](?:[a-z0-9]|[-_](?=[a-z0-9])){0,38}")
_AGENT = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FORMS = {"human": _LOGIN, "system": _COMPONENT, "agent": _AGENT}
"""What stands behind the colon, by the kind of actor."""


def login(value: object, place: str) -> str:
    """`value` as a login, in lower case and without a leading `@`; else `InvalidValue`."""
    if not isinstance(value, str):
        raise InvalidValue(f"{place}: takes a login as text, not a value of type {type(value).__name__}")
    lowered = value.lower().removeprefix("@") if value.isascii() else ""
    if not _LOGIN.fullmatch(lowered):
        raise InvalidValue(f"{place}: {shown(value)} is not a login: {_advice(lowered)}")
    return lowered


def _advice(lowered: str) -> str:
    kind, _, name = lowered.partition(":")
    if kind in ("human", "system") and _LOGIN.fullmatch(name):
        return f"write it without {kind}:"
    return (
        "1 to 100 ASCII letters, digits and . _ - + @ \\ | /, of which the first is a letter or digit; "
        "it may end in [bot]"
    )


def component(value: object, place: str) -> str:
    """`value` as the name of a component, in lower case; else `InvalidValue`."""
    if not isinstance(value, str):
        raise InvalidValue(f"{place}: takes a component's name as text, not a value of type {type(value).__name__}")
    lowered = value.lower() if value.isascii() else ""
    if not _COMPONENT.fullmatch(lowered):
        raise InvalidValue(
            f"{place}: {shown(value)} is not a component's name: letters, digits and single inner - or _, "
            "1 to 39 characters"
        )
    return lowered


class Actor(Protocol):
    """What every trigger takes as `by`: a `Human`, a `System`, `SANGHA` or an `Agent` row."""

    @property
    def actor(self) -> str:
        """As stored in `transition_log.actor` and `decisions.decided_by`: `human:ada`, `agent:<uuid>`, …"""
        ...

    @property
    def signature(self) -> str:
        """As stored in `gates.approved_by`, `proposals.forced_by`, `gate_comments.author`: bare for a person."""
        ...


@dataclass(frozen=True, slots=True)
class Human:
    """A person.

    Args:
        login: a GitHub login, a mail address, or a name in a directory: 1 to 100 ASCII letters, digits and
            `. _ - + @ \\ | /`, of which the first is a letter or digit; it may end in `[bot]`. It is compared and
            stored in lower case, without a leading `@`.

    Raises:
        InvalidValue: it is not a login.
    """

    login: str
    actor: str = field(init=False, repr=False, compare=False)
    """`human:` and the login."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "login", login(self.login, "Human"))
        object.__setattr__(self, "actor", f"human:{self.login}")

    @property
    def signature(self) -> str:
        """The bare login."""
        return self.login


@dataclass(frozen=True, slots=True)
class System:
    """A component of the runner or of this library, such as `System("rescue")`.

    Args:
        component: its name: 1 to 39 letters and digits, with single inner `-` or `_`; stored in lower case.

    Raises:
        InvalidValue: it is not such a name.
    """

    component: str
    actor: str = field(init=False, repr=False, compare=False)
    """`system:` and the component."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "component", component(self.component, "System"))
        object.__setattr__(self, "actor", f"system:{self.component}")

    @property
    def signature(self) -> str:
        """As `actor`."""
        return self.actor


class Sangha:
    """The agents as a body; its one member `SANGHA` approves and rejects proposals, as the tally says."""

    __slots__ = ()
    actor: Final = "sangha"
    signature: Final = "sangha"

    def __repr__(self) -> str:
        return "SANGHA"

    def __reduce__(self) -> str:
        return "SANGHA"  # a copy, or what was pickled, is this very object


def well_formed(actor: object) -> bool:
    """Whether it is how an actor is stored: `human:<login>`, `system:<component>`, `agent:<uuid>` or `sangha`."""
    kind, _, name = actor.partition(":") if isinstance(actor, str) else ("", "", "")
    form = _FORMS.get(kind)
    return form.fullmatch(name) is not None if form else actor == "sangha"


def well_signed(signature: object) -> bool:
    """Whether it is how an actor signs: a bare login, or as it is stored."""
    return isinstance(signature, str) and (_LOGIN.fullmatch(signature) is not None or well_formed(signature))


SANGHA: Final = Sangha()
"""The vote of the agents, as an actor."""
STORE: Final = System("store")
"""Who births a row when nobody is named."""
CHECKPOINT: Final = System("checkpoint")
"""Who opens a checkpoint whose time has come."""
