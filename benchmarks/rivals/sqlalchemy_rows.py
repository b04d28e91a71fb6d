"""What the two rivals on SQLAlchemy share: the rows, the engine, and the transaction around a move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine, UniqueConstraint, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.measure import Call

Fire = Callable[["Issue", str], None]


class Base(DeclarativeBase):
    """The root of the mapped classes."""


class Issue(Base):
    """An issue with the columns that matter; SQLAlchemy itself fences its updates by the version."""

    __tablename__ = "issues"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    title: Mapped[str] = mapped_column(default="An issue")
    prompt: Mapped[str] = mapped_column(default="Do it, and say what was done.")
    repo_path: Mapped[str] = mapped_column(default="/src")
    priority: Mapped[str] = mapped_column(default="medium")
    status: Mapped[str] = mapped_column(default="unassigned", index=True)
    version: Mapped[int] = mapped_column()
    created_at: Mapped[datetime] = mapped_column(default=partial(datetime.now, UTC))
    updated_at: Mapped[datetime] = mapped_column(default=partial(datetime.now, UTC))
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class Log(Base):
    """What was done."""

    __tablename__ = "log"
    __table_args__ = (UniqueConstraint("entity_id", "version"),)
    seq: Mapped[int] = mapped_column(primary_key=True)
    entity_id: Mapped[UUID]
    version: Mapped[int]
    trigger: Mapped[str]
    source: Mapped[str]
    dest: Mapped[str]
    actor: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=partial(datetime.now, UTC))


def _engine(path: str) -> Engine:
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode = wal", "synchronous = normal", "foreign_keys = 1"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def began(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def to_and_fro(path: str, fire: Fire) -> Iterator[Call]:
    """Issues that `fire` queues and takes off the queue, for ever; one session, committed after each move."""
    engine = _engine(path)
    Base.metadata.create_all(engine)
    session = Session(engine, expire_on_commit=False)
    rows = [Issue() for _ in range(50)]
    session.add_all(rows)
    session.commit()

    def move(row: Issue, trigger: str) -> None:
        source = row.status
        fire(row, trigger)
        row.updated_at = datetime.now(UTC)
        session.add(
            Log(
                entity_id=row.id,
                version=row.version + 1,
                trigger=trigger,
                source=source,
                dest=row.status,
                actor="human:maintainer",
            )
        )
        session.commit()

    while True:
        for trigger in ("queue", "dequeue"):
            for row in rows:
                yield partial(move, row, trigger)
