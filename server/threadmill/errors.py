"""The one family of errors that may reach a client; anything else is a bug and stays in the log."""

from __future__ import annotations

from typing import ClassVar


class ThreadmillError(Exception):
    """The message is one sentence for whoever asked. `code` is for machines, `status` is the HTTP status."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500

    @property
    def message(self) -> str:
        return str(self)


class BadRequest(ThreadmillError):
    code = "bad_request"
    status = 400


class Forbidden(ThreadmillError):
    code = "forbidden"
    status = 403


class NotFound(ThreadmillError):
    code = "not_found"
    status = 404


class Conflict(ThreadmillError):
    code = "conflict"
    status = 409


class TooLarge(ThreadmillError):
    code = "too_large"
    status = 413


class Invalid(ThreadmillError):
    code = "invalid"
    status = 422


class NotOffered(ThreadmillError):
    code = "not_offered"
    status = 501


class Unavailable(ThreadmillError):
    code = "unavailable"
    status = 503


class ConfigError(ThreadmillError):
    """A setting or langgraph.json is wrong; read by a person at a terminal, so it names file and position."""

    code = "config"


class GraphLoadError(ConfigError):
    """A graph of langgraph.json cannot be imported or is not a graph."""

    code = "graph_load"
