"""`http`: the project's own routes and middleware, and how ours are reached."""

import json
import re
from dataclasses import dataclass, field
from fnmatch import translate
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from threadmill.errors import ConfigError
from threadmill.langgraph_json.graphs import GraphSpec, named
from threadmill.langgraph_json.values import typed

GROUPS = ("assistants", "threads", "runs", "store", "meta", "mcp", "a2a", "ui", "webhooks")
CORS = (
    *("allow_origins", "allow_methods", "allow_headers", "allow_credentials"),
    *("allow_origin_regex", "expose_headers", "max_age"),
)
HEADERS = ("configurable_headers", "logging_headers")
KEYS = (
    *("http.app", "http.cors", "http.middleware_order", "http.enable_custom_route_auth", "http.mount_prefix"),
    *(f"http.cors.{name}" for name in CORS),
    *(f"http.disable_{group}" for group in GROUPS),
    *(f"http.{name}" for name in HEADERS),
    *(f"http.{name}.{part}" for name in HEADERS for part in ("includes", "excludes")),
)
LOOPBACK = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"
EXPOSED = ("content-location", "location", "x-pagination-total", "x-pagination-next")
SECRETS = re.compile(r"authorization|proxy-authorization|cookie|x-api-key|x-service-key|x-auth-.*|.*-token")


@dataclass(frozen=True)
class Cors:
    """The default lets pages in that this machine serves, as development servers do."""

    allow_origins: tuple[str, ...] = ()
    allow_methods: tuple[str, ...] = ("*",)
    allow_headers: tuple[str, ...] = ("*",)
    allow_credentials: bool = False
    allow_origin_regex: str | None = LOOPBACK
    expose_headers: tuple[str, ...] = EXPOSED
    max_age: int = 600

    def trusts(self, origin: str | None, host: str | None, *, guarded: bool) -> bool:
        """Whether a page of this origin may do what a browser does not ask about first. No origin: no browser.

        A page whose name was made to lead here (DNS rebinding) seems to be of this host, but it has no credentials,
        should somebody ask for them (`guarded`), and its name is no number.
        """
        if origin is None or not {"*", origin}.isdisjoint(self.allow_origins):
            return True
        if self.allow_origin_regex is not None and re.fullmatch(self.allow_origin_regex, origin):
            return True
        return urlsplit(origin).netloc == host and (guarded or _is_number(urlsplit(origin).hostname))


@dataclass(frozen=True)
class Headers:
    """Names of request headers, with `*` for any characters. What carries secrets must be named without a `*`."""

    includes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()

    def chosen(self, headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
        """Of the headers of an ASGI scope, by lower-case name."""
        if not self.includes:
            return {}
        found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
        return {name: value for name, value in found.items() if self._wants(name)}

    def _wants(self, name: str) -> bool:
        if any(_fits(pattern, name) for pattern in self.excludes):
            return False
        named = name in self.includes
        return named or (not SECRETS.fullmatch(name) and any(_fits(pattern, name) for pattern in self.includes))


@dataclass(frozen=True)
class HttpConfig:
    """`cors` None: not configured. `disabled` holds names of GROUPS."""

    app: GraphSpec | None = None
    cors: Cors | None = None
    disabled: frozenset[str] = frozenset()
    mount_prefix: str = ""
    custom_route_auth: bool = False
    auth_first: bool = False
    configurable_headers: Headers = field(default_factory=Headers)
    logging_headers: Headers = field(default_factory=Headers)


def http(path: Path, raw: Any, fallback_prefix: str | None = None) -> HttpConfig:
    """`fallback_prefix` is what the environment says, where the file says nothing."""
    given = typed(path, "http", {} if raw is None else raw, dict)
    order = given.get("middleware_order") or "middleware_first"
    if order not in ("auth_first", "middleware_first"):
        raise ConfigError(
            f"{path}: http.middleware_order must be auth_first or middleware_first, not {json.dumps(order)[:80]}."
        )
    app = given.get("app")
    return HttpConfig(
        app=named(path, "http.app", "http.app", typed(path, "http.app", app, str)) if app is not None else None,
        cors=_cors(path, given["cors"]) if given.get("cors") is not None else None,
        disabled=frozenset(group for group in GROUPS if _flag(path, given, f"disable_{group}")),
        mount_prefix=(
            _prefix(f"{path}: http.mount_prefix", given["mount_prefix"])
            if given.get("mount_prefix") is not None
            else _prefix("MOUNT_PREFIX", fallback_prefix)
        ),
        custom_route_auth=_flag(path, given, "enable_custom_route_auth"),
        auth_first=order == "auth_first",
        configurable_headers=_headers(path, given, "configurable_headers"),
        logging_headers=_headers(path, given, "logging_headers"),
    )


def _prefix(where: str, value: Any) -> str:
    """As `/one/two`, or empty. Raises ConfigError."""
    if value in (None, "", "/"):
        return ""
    if not (isinstance(value, str) and re.fullmatch(r"(/[\w.~-]+)+/?", value)):
        raise ConfigError(f"{where} must be a path such as /agent, not {json.dumps(value)[:80]}.")
    return value.rstrip("/")


def warnings(path: Path, config: HttpConfig) -> list[str]:
    cors = config.cors
    if cors is not None and cors.allow_credentials and "*" in cors.allow_origins:
        return [
            f"{path}: http.cors.allow_credentials is ignored, as browsers allow it to named origins only; "
            "name them instead of '*'."
        ]
    return []


def _cors(path: Path, raw: Any) -> Cors:
    where, given = "http.cors", typed(path, "http.cors", raw, dict)
    lists = {name: _names(path, f"{where}.{name}", given[name]) for name in CORS[:3] if given.get(name) is not None}
    if given.get("expose_headers") is not None:
        lists["expose_headers"] = _names(path, f"{where}.expose_headers", given["expose_headers"])
    pattern, age = given.get("allow_origin_regex"), given.get("max_age", Cors.max_age)
    if pattern is not None:
        try:
            re.compile(typed(path, f"{where}.allow_origin_regex", pattern, str))
        except re.error as error:
            raise ConfigError(f"{path}: {where}.allow_origin_regex is no regular expression: {error}.") from None
    if isinstance(age, bool) or not isinstance(age, int) or age < 0:
        raise ConfigError(f"{path}: {where}.max_age must be a number of seconds, not {json.dumps(age)[:80]}.")
    credentials = _flag(path, given, "allow_credentials", where)
    return Cors(**lists, allow_credentials=credentials, allow_origin_regex=pattern, max_age=age)


def _headers(path: Path, given: dict[str, Any], name: str) -> Headers:
    where, raw = f"http.{name}", given.get(name)
    raw = typed(path, where, {} if raw is None else raw, dict)
    parts = ("includes", "excludes")
    return Headers(*(tuple(one.lower() for one in _names(path, f"{where}.{p}", raw.get(p) or [])) for p in parts))


def _names(path: Path, where: str, value: Any) -> tuple[str, ...]:
    return tuple(typed(path, f"{where}[]", one, str) for one in typed(path, where, value, list))


def _flag(path: Path, given: dict[str, Any], name: str, where: str = "http") -> bool:
    value = given.get(name)
    if value is not None and not isinstance(value, bool):
        raise ConfigError(f"{path}: {where}.{name} must be true or false, not {json.dumps(value)[:80]}.")
    return bool(value)


def _is_number(host: str | None) -> bool:
    try:
        return bool(ip_address(host or ""))
    except ValueError:
        return False


def _fits(pattern: str, name: str) -> bool:
    return re.fullmatch(translate(pattern), name) is not None
