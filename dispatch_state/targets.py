"""Where a store is: what a path, a URL, the environment and the configuration file name."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dispatch_state.errors import InvalidValue, StoreReadOnly
from dispatch_state.values import shown

SQLITE, POSTGRESQL = "sqlite", "postgresql"
MEMORY = ":memory:"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a store is: a kind of database, and a path, `:memory:`, or a URL. Its text shows no password."""

    kind: str
    location: str = field(repr=False)

    def __str__(self) -> str:
        if self.kind == SQLITE:
            return self.location
        url = urlsplit(self.location)
        user = f"{url.username}@" if url.username else ""
        return f"postgresql://{user}{url.netloc.rpartition('@')[2]}{url.path}"


def without_password(text: str, url: str) -> str:
    """A text of others about a URL, its password left out should they quote it."""
    password = urlsplit(url).password
    for written in {password, unquote(password)} if password else ():
        text = text.replace(written, "…")
    return text


def resolve(target: str | os.PathLike[str] | None) -> Target:
    """The store that a target names: a path, `:memory:`, a URL, or None for what is configured.

    Raises:
        InvalidValue: it names nothing that can be a store, or the configuration is broken.
    """
    if target is None:
        return _configured()
    try:
        text = os.fspath(target)
    except TypeError:
        raise InvalidValue(f"target: takes a path or a URL, not a value of type {type(target).__name__}") from None
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise InvalidValue("target: takes a path or a URL as text, without NUL")
    return _url(text) if "://" in text else Target(SQLITE, MEMORY if text == MEMORY else _path(text))


def _url(text: str) -> Target:
    try:
        url = urlsplit(text)
        _ = "," in url.netloc or url.port  # several hosts, with a port each, are libpq's to read
        if "@" in url.path and url.scheme != SQLITE:
            raise ValueError  # a password with a slash in it, which would be told as the path
    except ValueError:
        raise InvalidValue("target: the URL cannot be read; has its password a sign that must be escaped?") from None
    if url.scheme in ("postgresql", "postgres"):
        return Target(POSTGRESQL, "postgresql" + text[len(url.scheme) :])
    if url.scheme != SQLITE:
        raise InvalidValue(f"target: {shown(url.scheme)} is no scheme of ours; use sqlite:///… or postgresql://…")
    if url.netloc or not url.path.strip("/") or url.query or url.fragment:
        raise InvalidValue("target: takes sqlite:///relative/path or sqlite:////absolute/path, and no parameters")
    path = unquote(url.path[1:])
    return Target(SQLITE, MEMORY if path == MEMORY else _path(path))


def _path(text: str) -> str:
    """An absolute path: a thread that connects after a `chdir` must reach the same file."""
    try:
        path = Path(text).expanduser().absolute()
        os.fsencode(path)
        other = path.exists() and not path.is_file()
    except PermissionError as error:
        raise StoreReadOnly(f"{path} cannot be reached: {error.strerror}") from None
    except (OSError, RuntimeError, ValueError):
        raise InvalidValue("target: the path is too long, holds what is no character, or names no user") from None
    if "\0" in text:
        raise InvalidValue("target: the path has a NUL")
    if other:
        raise InvalidValue(f"target: {path} is {'a folder; name a file in it' if path.is_dir() else 'no plain file'}")
    return str(path)


def _configured() -> Target:
    if named := os.environ.get("DISPATCH_DATABASE"):
        return resolve(named)
    configured = os.environ.get("DISPATCH_CONFIG")
    import platformdirs  # only here, where no store is named: it takes a while

    folder = platformdirs.user_config_path("dispatch", appauthor=False)
    default = platformdirs.user_data_path("dispatch", appauthor=False) / "dispatch.db"
    file = Path(configured).expanduser() if configured else folder / "config.toml"
    if not file.exists():
        if configured:
            raise InvalidValue(f"DISPATCH_CONFIG: there is no {file}")
        return resolve(default)
    return _from_file(file, default)


def _from_file(file: Path, default: Path) -> Target:
    import tomllib

    try:
        section = tomllib.loads(file.read_text(encoding="utf-8")).get("database", {})
    except (OSError, ValueError) as error:
        raise InvalidValue(f"{file}: cannot be read as TOML: {error}") from None
    if not isinstance(section, dict):
        raise InvalidValue(f"{file}: [database] is no table")
    named = [section[key] for key in ("path", "url") if key in section]
    if len(named) > 1:
        raise InvalidValue(f"{file}: [database] names both a path and a url; keep one")
    if named and not isinstance(named[0], str):
        raise InvalidValue(f"{file}: [database] takes its path or url as text")
    return resolve(named[0] if named else default)
