"""What is removed together with a row, and what keeps it from being removed."""

from __future__ import annotations

from dispatch_state.models.base import Row, Stateful


def removed_with(row: Stateful) -> tuple[list[Stateful], list[tuple[Row, Row]]]:
    """What goes when a row is deleted, itself first, and which rows outside would still name what goes."""
    going: list[Stateful] = [row]
    holders: list[tuple[Row, Row]] = []
    for parent in going:
        for key, model in parent._meta.backrefs.items():
            if key.on_delete == "SET NULL" or not issubclass(model, Row):
                continue  # the database asks the tables of others, which a model of theirs may not even be bound to
            children = model.select().where(key == parent.id).order_by(model._meta.primary_key)
            if key.on_delete is None:
                holders.extend((child, parent) for child in children)
            elif issubclass(model, Stateful):
                going.extend(children)
    return going, [(holder, named) for holder, named in holders if holder not in going]
