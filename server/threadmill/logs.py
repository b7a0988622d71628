"""Structured logs: one line per event, as JSON, or coloured when a person watches."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog


def configure(level: str, form: str) -> bool:
    """`form`: "json", "console", or "auto" (console on a terminal). Returns whether a person reads it."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper("iso", utc=True),
    ]
    final: list[structlog.typing.Processor] = (
        [
            _below,
            # Plain: the default one prints local variables, and with them secrets.
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    for noisy in ("httpx", "httpcore", "watchfiles", "aiosqlite", "uvicorn"):
        logging.getLogger(noisy).setLevel(max(root.level, logging.WARNING))
    logging.getLogger("uvicorn.error").addFilter(_unsaid)
    return console


def _below(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Text of several lines, as a user's traceback, goes under the line that it belongs to."""
    for name, value in list(event.items()):
        if name != "event" and isinstance(value, str) and "\n" in value:
            event["event"] = f"{event['event']}\n{event.pop(name)}"
    return event


def _unsaid(record: logging.LogRecord) -> bool:
    """api/wire.py logs what a request raises, with its request id; uvicorn would say it again."""
    return not str(record.msg).startswith("Exception in ASGI application")
