"""Threadmill runs LangGraph graphs as a service in which every conversation is a durable, forkable thread."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threadmill.app import App, create_app
    from threadmill.effects import EffectUnknown, idempotency_key, once

__all__ = ["App", "EffectUnknown", "create_app", "idempotency_key", "once"]

# CVE-2026-28277: unless strict, msgpack rebuilds any type a checkpoint names. langgraph reads this flag once, when it
# is first imported, so it has to be set before anything of ours imports langgraph.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # a slow import that only `--version` and /info need

        return version("threadmill")
    if name in ("EffectUnknown", "idempotency_key", "once"):  # for tools: light
        return getattr(import_module("threadmill.effects"), name)
    if name in __all__:
        return getattr(import_module("threadmill.app"), name)  # which imports the whole server
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
