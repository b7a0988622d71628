"""`webhooks`: which addresses a run may name to be told of its end, and what goes with every such call."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from threadmill.errors import ConfigError
from threadmill.langgraph_json.values import typed

KEYS = (
    *("webhooks", "webhooks.env_prefix", "webhooks.headers", "webhooks.url"),
    *("webhooks.url.allowed_domains", "webhooks.url.allowed_ports", "webhooks.url.require_https"),
    *("webhooks.url.max_url_length", "webhooks.url.disable_loopback"),
)
TEMPLATE = re.compile(r"\$\{\{(.*?)\}\}")
OURS = ("host", "content-length", "content-type", "transfer-encoding", "connection")


@dataclass(frozen=True)
class WebhooksConfig:
    """`headers` have their variables filled in. A domain `*.x.com` is every name below x.com; None allows all."""

    headers: dict[str, str] = field(default_factory=dict)
    allowed_domains: tuple[str, ...] | None = None
    allowed_ports: tuple[int, ...] | None = None
    enabled: bool = True  # `http.disable_webhooks`
    require_https: bool = False
    max_url_length: int = 2048
    disable_loopback: bool = True


def webhooks(path: Path, raw: Any, environment: Mapping[str, str]) -> WebhooksConfig:
    raw = typed(path, "webhooks", raw or {}, dict)
    where, url = "webhooks.url", typed(path, "webhooks.url", raw.get("url") or {}, dict)
    length = url.get("max_url_length", WebhooksConfig.max_url_length)
    if not _whole(length) or length < 1:
        raise ConfigError(
            f"{path}: {where}.max_url_length must be a number of characters, not {json.dumps(length)[:80]}."
        )
    return WebhooksConfig(
        headers=_headers(path, raw, environment),
        allowed_domains=_domains(path, f"{where}.allowed_domains", url.get("allowed_domains")),
        allowed_ports=_ports(path, f"{where}.allowed_ports", url.get("allowed_ports")),
        require_https=_flag(path, f"{where}.require_https", url.get("require_https"), WebhooksConfig.require_https),
        max_url_length=length,
        disable_loopback=_flag(
            path, f"{where}.disable_loopback", url.get("disable_loopback"), WebhooksConfig.disable_loopback
        ),
    )


def _headers(path: Path, raw: dict[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    prefix = raw.get("env_prefix")
    prefix = "LG_WEBHOOK_" if prefix is None else typed(path, "webhooks.env_prefix", prefix, str)
    headers = {}
    for name, template in typed(path, "webhooks.headers", raw.get("headers") or {}, dict).items():
        where = f"webhooks.headers.{name}"
        if not re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name, re.ASCII):
            raise ConfigError(f"{path}: webhooks.headers: {name!r} is not the name of a header.")
        if name.lower() in OURS or name.lower().startswith("webhook-"):
            raise ConfigError(f"{path}: {where} is set by the server.")
        value = typed(path, where, template, str)
        for variable in (found.strip() for found in TEMPLATE.findall(value)):
            known = variable.removeprefix("env.")
            if known == variable or not known.startswith(prefix):
                raise ConfigError(
                    f"{path}: {where} may name variables as ${{{{ env.{prefix}X }}}} only, not {variable!r}."
                )
            if known not in environment:
                raise ConfigError(f"{path}: {where} needs the environment variable {known}, which is not set.")
        filled = TEMPLATE.sub(lambda found: environment[found[1].strip().removeprefix("env.")], value)
        if not re.fullmatch(r"[\t\x20-\x7e]*", filled):  # not shown: it may be a secret
            raise ConfigError(f"{path}: {where} must be one line of ASCII once its variables are filled in.")
        headers[name] = filled
    return headers


def _domains(path: Path, where: str, raw: Any) -> tuple[str, ...] | None:
    """An empty list is no list: everything is allowed, as on the platform."""
    names = [typed(path, f"{where}[]", one, str).lower().rstrip(".") for one in typed(path, where, raw or [], list)]
    for name in names:
        if not re.fullmatch(r"(\*\.)?[^*/:@\s]+", name):
            raise ConfigError(f"{path}: {where} must hold names as hooks.example.com or *.example.com, not {name!r}.")
    return tuple(names) or None


def _ports(path: Path, where: str, raw: Any) -> tuple[int, ...] | None:
    ports = typed(path, where, raw or [], list)
    for port in ports:
        if not _whole(port) or not 0 < port < 65536:
            raise ConfigError(f"{path}: {where} must hold ports from 1 to 65535, not {json.dumps(port)[:80]}.")
    return tuple(ports) or None


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _flag(path: Path, where: str, value: Any, default: bool) -> bool:
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ConfigError(f"{path}: {where} must be true or false, not {json.dumps(value)[:80]}.")
    return value
