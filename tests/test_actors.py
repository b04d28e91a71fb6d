"""Who acts: what a login is, and what whoever writes it otherwise is told."""

from __future__ import annotations

import pytest

from dispatch_state import Human, InvalidValue, System


def test_logins_ignore_case() -> None:
    assert Human("Anna-B").login == Human("anna-b").login == "anna-b"
    assert (Human("renovate[bot]").actor, System("Rescue").actor) == ("human:renovate[bot]", "system:rescue")


@pytest.mark.parametrize(
    ("login", "told"),
    [
        ("human:anna", 'Human: "human:anna" is not a login: write it without human:'),
        ("Human:Anna", 'Human: "Human:Anna" is not a login: write it without human:'),
        ("system:tick", 'Human: "system:tick" is not a login: write it without system:'),
        ("Anna Smith", 'Human: "Anna Smith" is not a login: letters, digits and single inner - or _, '),
        ("human:Anna Smith", 'Human: "human:Anna Smith" is not a login: letters, '),
        ("agent:anna", 'Human: "agent:anna" is not a login: letters, '),
        ("", 'Human: "" is not a login: letters, '),
        ("a\x1b[31m", "Human: a value of type str is not a login: letters, "),
        ("x" * 41, "Human: a value of type str is not a login: letters, "),
        (7, "Human: takes a login as text, not a value of type int"),
    ],
)
def test_what_is_no_login_is_shown(login: str, told: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        Human(login)
    assert str(refused.value).startswith(told)
