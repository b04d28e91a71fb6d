"""Where a store is: the path or URL that the caller, the environment or the configuration file names."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from dispatch_state.errors import InvalidValue, StoreReadOnly
from dispatch_state.values import shown

SQLITE, POSTGRESQL = "sqlite", "postgresql"
MEMORY = ":memory:"
LONGEST_CONFIG = 1 << 16
"""Most bytes of a configuration file."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a store is. Its text shows no password.

    Args:
        kind: `SQLITE` or `POSTGRESQL`.
        location: a path, `:memory:`, or a URL.
    """

    kind: str
    location: str = field(repr=False)

    def __str__(self) -> str:
        if self.kind == SQLITE:
            return self.location
        url = urlsplit(self.location)
        user = f"{url.username}@" if url.username else ""
        return f"postgresql://{user}{url.netloc.rpartition('@')[2]}{url.path}"


def without_password(text: str, url: str) -> str:
    """Return a text that may quote a URL, without the URL's password."""
    password = urlsplit(url).password
    for written in {password, unquote(password)} if password else ():
        text = text.replace(written, "…")
    return text


def resolve(target: str | os.PathLike[str] | None) -> Target:
    """Return where the store is that a target names.

    Args:
        target: a path, `:memory:`, a URL, or None for the configured store.

    Raises:
        InvalidValue: the target cannot be a store, or the configuration is broken.
        StoreReadOnly: the path is in a folder that may not be entered.
    """
    if target is None:
        return _configured_target()
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
        _ = "," in url.netloc or url.port  # libpq reads several hosts, each with a port
        if "@" in url.path and url.scheme != SQLITE:
            raise ValueError  # a password with a slash in it would be shown as the path
    except ValueError:
        raise InvalidValue("target: the URL cannot be read; must a character of the password be escaped?") from None
    if url.scheme in ("postgresql", "postgres"):
        return Target(POSTGRESQL, "postgresql" + text[len(url.scheme) :])
    if url.scheme != SQLITE:
        raise InvalidValue(f"target: takes sqlite:///… or postgresql://…, not the scheme {shown(url.scheme)}")
    if url.netloc or not url.path.strip("/") or url.query or url.fragment:
        raise InvalidValue("target: takes sqlite:///relative/path or sqlite:////absolute/path, and no parameters")
    path = unquote(url.path[1:])
    return Target(SQLITE, MEMORY if path == MEMORY else _path(path))


def _path(text: str) -> str:
    """Return the absolute path, so that a thread that connects after a `chdir` reaches the same file."""
    path = absolute_path(text, "target")
    try:
        other = path.exists() and not path.is_file()
    except PermissionError as error:
        raise StoreReadOnly(f"{path} cannot be reached: {error.strerror}") from None
    except OSError as error:
        raise InvalidValue(f"target: the path cannot name a file: {error.strerror}") from None
    if other:
        raise InvalidValue(f"target: {path} is {'a folder; name a file in it' if path.is_dir() else 'no regular file'}")
    return str(path)


def absolute_path(text: str, what: str) -> Path:
    """Return an absolute path, with `~` expanded.

    Args:
        text: the path as it was given.
        what: the argument or variable that gave it, for the message.

    Raises:
        InvalidValue: the text cannot be a path.
    """
    try:
        path = Path(text).expanduser().absolute()
        os.fsencode(path)
    except RuntimeError:
        raise InvalidValue(f"{what}: {shown(text)} names the home folder of a user without one here") from None
    except OSError as error:
        raise InvalidValue(f"{what}: the current folder cannot be reached: {error.strerror}") from None
    except ValueError:
        raise InvalidValue(f"{what}: the path has a character that no file name can have") from None
    if "\0" in text:
        raise InvalidValue(f"{what}: the path has a NUL")
    return path


def _configured_target() -> Target:
    if named := os.environ.get("DISPATCH_DATABASE"):
        return resolve(named)
    configured = os.environ.get("DISPATCH_CONFIG")
    file = absolute_path(configured, "DISPATCH_CONFIG") if configured else _user_folder("config") / "config.toml"
    try:
        section = _database_section(file)
    except (FileNotFoundError, NotADirectoryError):
        if configured:
            raise InvalidValue(f"DISPATCH_CONFIG: there is no {file}") from None
        section = {}
    except OSError as error:
        raise InvalidValue(f"{'DISPATCH_CONFIG' if configured else file}: cannot be read: {error.strerror}") from None
    named = _location_in(file, section)
    return resolve(_user_folder("data") / "dispatch.db" if named is None else named)


def _user_folder(kind: str) -> Path:
    """Return the user's folder for "config" or "data" of `dispatch`."""
    import platformdirs  # only here, where no store is named, because the import takes a while

    try:
        folders = {"config": platformdirs.user_config_path, "data": platformdirs.user_data_path}
        return absolute_path(str(folders[kind]("dispatch", appauthor=False)), kind)
    except (RuntimeError, InvalidValue):
        raise InvalidValue(
            "target: no store is named, and this user has no home folder to look in; name one, or set DISPATCH_DATABASE"
        ) from None


def _database_section(file: Path) -> Any:
    """Return the `[database]` section of a configuration file."""
    import tomllib

    with file.open("rb") as opened:
        text = opened.read(LONGEST_CONFIG + 1)
    if len(text) > LONGEST_CONFIG:
        raise InvalidValue(f"{file}: is longer than {LONGEST_CONFIG:,} bytes, which no configuration is")
    try:
        return tomllib.loads(text.decode()).get("database", {})
    except ValueError as error:
        raise InvalidValue(f"{file}: cannot be read as TOML: {error}") from None
    except RecursionError:
        raise InvalidValue(f"{file}: cannot be read as TOML: it is nested too deeply") from None


def _location_in(file: Path, section: Any) -> str | None:
    """Return the path or URL that the section names; None when it names none."""
    if not isinstance(section, dict):
        raise InvalidValue(f"{file}: [database] must be a table")
    named = [section[key] for key in ("path", "url") if key in section]
    if len(named) > 1:
        raise InvalidValue(f"{file}: [database] names both a path and a url; keep one")
    if not named:
        return None
    if not isinstance(named[0], str):
        raise InvalidValue(f"{file}: [database] takes its path or url as text")
    return named[0]
