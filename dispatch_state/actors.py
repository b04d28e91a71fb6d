"""Who acts: a person, a component of the system, the vote of the agents, or an agent's row.

An actor is a typed value, never free text, because an agent could pose as a person with a text such as `human:…`. This
library does not authenticate people: the program that makes a `Human` must have done that.
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
"""The form of the part after the colon, for each kind of actor."""


def login(value: object, place: str) -> str:
    """Return a login in lower case and without a leading `@`.

    Args:
        value: the login.
        place: where it was given, for the message.

    Raises:
        InvalidValue: the value is not a login.
    """
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
    """Return the name of a component in lower case.

    Args:
        value: the name.
        place: where it was given, for the message.

    Raises:
        InvalidValue: the value is not such a name.
    """
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
        """Its text in `transition_log.actor` and `decisions.decided_by`: `human:ada`, `agent:<uuid>` and so on."""
        ...

    @property
    def signature(self) -> str:
        """Its text in `gates.approved_by`, `proposals.forced_by` and `gate_comments.author`: the login of a person."""
        ...


@dataclass(frozen=True, slots=True)
class Human:
    """A person.

    Args:
        login: a GitHub login, a mail address, or a name in a directory: 1 to 100 ASCII letters, digits and
            `. _ - + @ \\ | /`, of which the first is a letter or digit; it may end in `[bot]`. It is compared and
            stored in lower case, without a leading `@`.

    Raises:
        InvalidValue: the text is not a login.
    """

    login: str
    actor: str = field(init=False, repr=False, compare=False)
    """`human:` followed by the login."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "login", login(self.login, "Human"))
        object.__setattr__(self, "actor", f"human:{self.login}")

    @property
    def signature(self) -> str:
        """The login."""
        return self.login


@dataclass(frozen=True, slots=True)
class System:
    """A component of the runner or of this library, such as `System("rescue")`.

    Args:
        component: its name: 1 to 39 letters and digits, with single inner `-` or `_`; stored in lower case.

    Raises:
        InvalidValue: the text is not such a name.
    """

    component: str
    actor: str = field(init=False, repr=False, compare=False)
    """`system:` followed by the component."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "component", component(self.component, "System"))
        object.__setattr__(self, "actor", f"system:{self.component}")

    @property
    def signature(self) -> str:
        """The same text as `actor`."""
        return self.actor


class Sangha:
    """The agents as a body. Its only instance, `SANGHA`, approves and rejects proposals as the tally decides."""

    __slots__ = ()
    actor: Final = "sangha"
    signature: Final = "sangha"

    def __repr__(self) -> str:
        return "SANGHA"

    def __reduce__(self) -> str:
        return "SANGHA"  # copies and unpickled values are this very object


def is_actor_text(actor: object) -> bool:
    """Return whether a value is an actor's text: `human:<login>`, `system:<component>`, `agent:<uuid>` or `sangha`."""
    kind, _, name = actor.partition(":") if isinstance(actor, str) else ("", "", "")
    form = _FORMS.get(kind)
    return form.fullmatch(name) is not None if form else actor == "sangha"


def is_signature(signature: object) -> bool:
    """Return whether a value is an actor's signature: a login, or an actor's text."""
    return isinstance(signature, str) and (_LOGIN.fullmatch(signature) is not None or is_actor_text(signature))


SANGHA: Final = Sangha()
"""The vote of the agents, as an actor."""
STORE: Final = System("store")
"""The actor who creates a row when nobody is named."""
CHECKPOINT: Final = System("checkpoint")
"""The actor who opens a checkpoint at its time."""
