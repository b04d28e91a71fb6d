"""Rows as `show` and `explain` print them."""

from __future__ import annotations

import re
from typing import Any

from dispatch_state import Agent, Gate, Store, open_store
from dispatch_state.schema import migrate as migrations
from tests.backends import on_sqlite
from tests.cli.shelf import PROMPT, Ids, reads
from tests.shell import Shell
from tests.world import MAINTAINER, MODELS, World


@reads
def test_every_row_is_shown_by_the_end_of_its_id(shell: Shell, ids: Ids, inside: Any) -> None:
    def one_of_each(store: Store) -> list[tuple[str, str]]:
        return [(model._meta.table_name, str(model.select().first()._pk)) for model in reading_models()]

    for table, key in inside(one_of_each):
        for named in (key, key.upper(), key.replace("-", ""), key[-12:]):
            told = shell.json("show", named)
            assert (told["table"], told["id"]) == (table, key)
        assert key in shell("show", key[-12:])


def reading_models() -> tuple[Any, ...]:
    from dispatch_state.cli.lookup import NAMED

    assert len(NAMED) == 11
    return NAMED


@reads
def test_one_row(shell: Shell, ids: Ids) -> None:
    told = shell("show", ids["issue"])
    assert "  status             queued (It is offered: the next agent that claims work and fits gets it.)" in told
    assert "  assign agent=AGENT [worktree_path=TEXT] [branch_name=TEXT] [--reason TEXT]\n" in told
    assert "  cancel --reason TEXT (an override)\n" in told
    assert re.search(r"^ +\d+ .*queue \(unassigned -> queued\) by human:maintainer", told, re.MULTILINE)
    as_json = shell.json("show", ids["issue"])
    assert as_json["legal_triggers"] == ["dequeue", "assign", "cancel"]
    assert [move["trigger"] for move in as_json["history"]] == ["create", "queue"]


@reads
def test_a_row_shows_the_rows_that_it_names(shell: Shell, ids: Ids) -> None:
    gate, agent, epic = (shell("show", ids[name]) for name in ("gate", "agent", "epic"))
    assert f"\n  stage               first ({ids['stage'][-8:]})\n" in gate
    assert "stage_id" not in gate
    assert f"\n  current_issue      At work ({ids['at_work'][-8:]})\n" in agent
    assert f"\n  blocked_at_gate      look ({ids['gate'][-8:]})\n" in epic
    assert f"\n  assigned_agent     coder ({ids['agent'][-8:]})\n" in shell("show", ids["at_work"])
    assert shell.json("show", ids["gate"])["stage_id"] == ids["stage"]


@reads
def test_agents_are_called_by_their_type(shell: Shell, ids: Ids, inside: Any) -> None:
    agent = ids["agent"][-8:]
    for words in (["show", ids["agent"]], ["log"], ["explain", ids["at_work"]], ["log", "--follow", "--after", "0"]):
        told = shell(*words, *(["--timeout", "0"] if "--follow" in words else []))
        assert f" by coder {agent}" in told
        assert "agent:" not in told
    assert {move["actor"] for move in shell.lines("log")} >= {f"agent:{ids['agent']}"}


def test_the_comments_of_a_gate_are_shown(shell: Shell, ids: Ids, inside: Any) -> None:
    gate, agent = ids["gate"], ids["agent"]
    assert "\ncomments\n  2020-01-31 09:30:00+00:00  maintainer: Looks fine\nhistory\n" in shell("show", gate)
    inside(lambda store: World(store).gates("pending").comment("Elsewhere", by=MAINTAINER))
    inside(lambda store: Gate.get_by_id(gate).comment("One line\nand another", by=Agent.get_by_id(agent)))
    shell("fire", gate, "approve", "comment=Go", "--as", "maintainer", "--reason", "It is sound")
    told = shell("show", gate)
    assert re.search(rf"  coder {agent[-8:]}: One line\n    and another\n  \S+ \S+  maintainer: Go\nhistory", told)
    said = shell.json("show", gate)["comments"]
    assert [comment["content"] for comment in said] == ["Looks fine", "One line\nand another", "Go"]
    assert (said[1]["author"], said[2]["author"]) == (f"agent:{agent}", "maintainer")
    assert shell("decisions", "--last", "1").endswith("by human:maintainer: It is sound\n")
    assert "comments" not in shell("show", ids["issue"])


@reads
def test_what_could_not_be_fired_now_is_marked(shell: Shell, ids: Ids) -> None:
    gate = shell("show", ids["gate"])
    assert "\n  approve [comment=TEXT] [choice=TEXT] [--reason TEXT]\n" in gate
    assert '\n  auto_approve [--reason TEXT]  (not now: it takes System("checkpoint"), not human:maintainer)\n' in gate
    stage = shell("show", ids["stage"])
    assert f"\n  approve [--reason TEXT]  (not now: Gate {ids['gate'][-8:]} is pending)\n" in stage
    assert "\n  rework [--reason TEXT]  (not now: no gate of it is rejected)\n" in stage
    assert "\n  skip [cancel_issues=TRUE|FALSE] --reason TEXT (an override)\n" in stage
    assert shell.json("show", ids["stage"])["not_now"] == {
        "approve": [f"Gate {ids['gate'][-8:]} is pending"],
        "rework": ["no gate of it is rejected"],
    }


def test_what_takes_a_row_is_marked_too(shell: Shell, target: str) -> None:
    """Whichever row it would be."""
    with open_store(target, durability="normal") as store:
        issue = World(store).stages("pending").add_issue(**World(store).issue_columns())
        stage = str(issue.stage)
    told = shell("show", str(issue.id))
    assert f"\n  queue [--reason TEXT]  (not now: {stage} is pending, not in_progress)\n" in told
    assert re.search(rf"\n  assign agent=AGENT .*\(not now: {stage} is pending, not in_progress\)\n", told)


def test_a_final_row_says_that_it_is(shell: Shell, ids: Ids, inside: Any) -> None:
    done = inside(lambda store: str(World(store).issues("done").id))
    assert "no trigger starts here: the status is final" in shell("show", done)


@reads
def test_a_prompt_is_shown_on_demand_only(shell: Shell, ids: Ids) -> None:
    asked = [["show", ids["issue"]], ["explain", ids["issue"]], ["log"], ["decisions"], ["board"], ["status"]]
    for words in asked:
        assert PROMPT not in shell(*words)
        assert PROMPT not in shell(*words, "--json")
    assert f"{len(PROMPT)} characters; --prompt shows them" in shell("show", ids["issue"])
    assert PROMPT in shell("show", ids["issue"], "--prompt")
    assert shell.json("show", ids["issue"], "--prompt")["prompt"] == PROMPT


@reads
def test_a_removed_row_has_its_history(shell: Shell, ids: Ids) -> None:
    assert f"issues {ids['gone']} no longer exists: it was removed\n" in shell("show", ids["gone"][-12:])
    for words in (["explain", "{}"], ["diagram", "{}"], ["fire", "{}", "queue", "--as", "me"]):
        shell(*[word.format(ids["gone"][-12:]) for word in words], code=1)
        assert f"issues {ids['gone']} no longer exists: it was removed; show lists its history" in shell.err
    shell("board", "--epic", ids["gone"][-12:], code=1)
    assert "no Epic here has an id that ends in" in shell.err
    told = shell.json("show", ids["gone"])
    assert (told["id"], [move["trigger"] for move in told["history"]]) == (ids["gone"], ["create", "cancel", "remove"])


@on_sqlite
def test_a_row_that_somebody_deleted_past_the_log_is_not_called_removed(shell: Shell, ids: Ids, place: str) -> None:
    with open_store(place) as store, store.database.atomic():
        migrations.enforcement.remove(store.database)
        store.database.execute_sql(f"DELETE FROM agents WHERE id = '{ids['idle']}'")
        migrations.enforcement.install(store.database)
    told = f"agents {ids['idle']} no longer exists: its log does not say that it was removed; verify the store"
    assert shell("show", ids["idle"]).splitlines()[0] == told
    shell("explain", ids["idle"], code=1)
    assert f"{told}; show lists its history" in shell.err


@reads
def test_why_a_row_is_where_it_is(shell: Shell, ids: Ids, inside: Any) -> None:
    told = shell("explain", ids["stage"][-12:])
    explained = inside(lambda store: store.explain(MODELS["stages"].get_by_id(ids["stage"])))
    assert told == explained + "\n"
    assert "which followed" in told
    as_json = shell.json("explain", ids["stage"])
    assert as_json["waits_for"] == [f"Gate {ids['gate'][-8:]} is pending (maintainer may approve)"]
    assert told.endswith(f"\n  waits for: {as_json['waits_for'][0]}\n")
    chain = as_json["because"]
    assert [move["trigger"] for move in chain] == ["submit", "complete"]
    assert chain[0]["cause_seq"] == chain[1]["seq"]
