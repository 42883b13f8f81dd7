"""Addresses of Redis: one server, a service behind sentinels, or a cluster.

What is wrong with an address is said without quoting it, since it may hold a password.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

FORMS = (
    "redis://HOST:PORT/DB, rediss://HOST:PORT/DB (TLS), unix:///PATH?db=DB, "
    "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB or redis+cluster://HOST:PORT,HOST:PORT "
    "(TLS: rediss+...), with USER:PASSWORD@ before the first host where one is needed"
)
"""The addresses that are understood."""

Kind = Literal["server", "sentinel", "cluster"]

_Readers = Mapping[str, Callable[[str], Any]]

_KINDS: Mapping[str, tuple[Kind, bool]] = {
    "redis": ("server", False),
    "rediss": ("server", True),
    "unix": ("server", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
_PORTS: Mapping[Kind, int] = {"server": 6379, "sentinel": 26379, "cluster": 6379}


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where a Redis is and how to log in.

    Attributes:
        kind: One server, a service that sentinels know, or a cluster.
        tls: Whether connections are encrypted.
        hosts: Servers or sentinels, host and port; none for a unix socket.
        path: Of a unix socket, else empty.
        service: The sentinels' name of the service, else empty.
        db: Number of the database, always 0 in a cluster.
        login: `username` and `password`, as far as given.
        sentinel_login: The same for the sentinels themselves.
        options: What else the client is to know, by the client's own names.
        shown: The address without user, password and options, for logs.
    """

    kind: Kind
    tls: bool
    hosts: tuple[tuple[str, int], ...]
    path: str
    service: str
    db: int
    login: Mapping[str, str]
    sentinel_login: Mapping[str, str]
    options: Mapping[str, Any]
    shown: str

    def __repr__(self) -> str:
        """Return it without secrets."""
        return f"RedisAddress({self.shown})"


def parsed_address(url: str) -> RedisAddress:
    """Return what an address says.

    Raises:
        ValueError: It cannot be understood; the message never quotes it.
    """
    try:
        parts = urlsplit(url)
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:  # half an IPv6 address, or a query that is none
        raise ValueError(f"not a Redis address; write {FORMS}") from None
    if parts.scheme not in _KINDS or parts.fragment:
        raise ValueError(f"not a Redis address; write {FORMS}")
    kind, tls = _KINDS[parts.scheme]
    user, _, hosts = parts.netloc.rpartition("@")
    known = {**_COMMON, **({} if parts.scheme == "unix" else _TCP), **(_TLS if tls else {})}
    given = _options(pairs, {**known, **(_SENTINEL if kind == "sentinel" else {})})
    login = {**_login(user), **_taken(given, "")}
    where = _hosts(hosts, kind) if parts.scheme != "unix" else ()
    path, service, db = _path(parts.scheme, kind, unquote(parts.path), given.pop("db", None))
    shown = ",".join(f"{host}:{port}" for host, port in where)
    tail = path or "/".join(["", *([service] if service else []), *([str(db)] if db else [])])
    return RedisAddress(
        kind=kind,
        tls=tls,
        hosts=where,
        path=path,
        service=service,
        db=db,
        login=login,
        sentinel_login=_taken(given, "sentinel_"),
        options=given,
        shown=f"{parts.scheme}://{shown}{tail}",
    )


def _login(user: str) -> dict[str, str]:
    name, _, password = user.partition(":")
    given = {"username": unquote(name), "password": unquote(password)}
    return {key: value for key, value in given.items() if value}


def _taken(options: dict[str, Any], prefix: str) -> dict[str, str]:
    """Take a user and a password out of the options."""
    names = [name for name in ("username", "password") if prefix + name in options]
    return {name: options.pop(prefix + name) for name in names}


def _hosts(text: str, kind: Kind) -> tuple[tuple[str, int], ...]:
    if kind == "server" and "," in text:
        raise ValueError(f"several hosts are for +sentinel and +cluster; write {FORMS}")
    return tuple(_host(one, kind) for one in text.split(","))


def _host(text: str, kind: Kind) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        port = _PORTS[kind] if parts.port is None else parts.port
    except ValueError:
        port = 0
    # A server may be left out: it is then on this machine, as clients of Redis have it.
    host = parts.hostname if port and (text or kind != "server") else "localhost" if port else None
    if not host or not port:
        raise ValueError(f"each host needs a name, and a port from 1 to 65535; write {FORMS}")
    return unquote(host), port


def _path(scheme: str, kind: Kind, path: str, option: int | None) -> tuple[str, str, int]:
    """Return the socket's path, the service and the number of the database."""
    if scheme == "unix":
        if not path:
            raise ValueError(f"unix:// needs the path of a socket; write {FORMS}")
        return path, "", option or 0
    steps = [step for step in path.split("/") if step]
    service = steps.pop(0) if kind == "sentinel" and steps else ""
    if kind == "sentinel" and not service:
        raise ValueError(f"sentinels need the name of the service; write {FORMS}")
    if len(steps) > 1 or any(not step.isdecimal() for step in steps):
        raise ValueError(f"the path must be the number of a database; write {FORMS}")
    db = option if option is not None else int(steps[0]) if steps else 0
    if kind == "cluster" and db:
        raise ValueError("a cluster has database 0 only; leave the number out")
    return "", service, db


def _options(pairs: list[tuple[str, str]], known: _Readers) -> dict[str, Any]:
    """Return the query's options, read.

    Raises:
        ValueError: One is unknown, given twice or cannot be read; its name is not quoted either,
            since a password that holds a `?` ends up there.
    """
    names = [name for name, _ in pairs]
    if not known.keys() >= set(names) or len(set(names)) < len(names):
        raise ValueError(
            "its query names an unknown setting, or one twice; known are "
            f"{', '.join(sorted(known))}; the form is {FORMS}"
        )
    found = {}
    for name, value in pairs:
        try:
            found[name] = known[name](value)
        except (ValueError, KeyError):
            raise ValueError(f"its setting {name} has a wrong value; the form is {FORMS}") from None
    return found


def _flag(text: str) -> bool:
    return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
        text.lower()
    ]


def _requirement(text: str) -> str:
    return {"none": "none", "optional": "optional", "required": "required"}[text]


def _number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(text)
    return int(text)


def _version(text: str) -> ssl.TLSVersion:
    return {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[text]


_COMMON: _Readers = {
    "username": str,
    "password": str,
    "db": _number,
    "client_name": str,
    "health_check_interval": _number,
}
_TCP: _Readers = {"socket_keepalive": _flag}
_TLS: _Readers = {
    "ssl_ca_certs": str,
    "ssl_ca_data": str,
    "ssl_cert_reqs": _requirement,
    "ssl_certfile": str,
    "ssl_check_hostname": _flag,
    "ssl_ciphers": str,
    "ssl_keyfile": str,
    "ssl_min_version": _version,
}
_SENTINEL: _Readers = {"sentinel_username": str, "sentinel_password": str}
