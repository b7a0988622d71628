"""For tools that have effects outside: a key for each call, and a memory of what was done.

Written for graphs: a tool imports these from `threadmill`. Outside the server there is no key, and `once` just calls.
"""

import functools
import inspect
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar, cast, overload

F = TypeVar("F", bound=Callable[..., Any])


class EffectUnknown(Exception):
    """The server died during this call, so nobody knows whether it had its effect."""


class Entry(Protocol):
    """One call of a function in a tool call, as the ledger has it."""

    def begin(self) -> "Future[tuple[bool, bool, Any]]":
        """(whether it has an output already, whether it was begun before, the output)"""
        ...

    def finish(self, output: Any) -> "Future[None]": ...
    def forget(self) -> "Future[None]": ...


class Ledger(Protocol):
    def key(self) -> str | None: ...
    def entry(self, function: str) -> Entry | None: ...


current: ContextVar[Ledger | None] = ContextVar("threadmill_ledger", default=None)


def idempotency_key() -> str | None:
    """The same for every execution of this tool call, over crashes, retries and resumes, and for no other: what a
    service wants as `Idempotency-Key`. None outside of a model's tool call, and outside the server."""
    ledger = current.get()
    return ledger.key() if ledger is not None else None


@overload
def once(function: F, /) -> F: ...
@overload
def once(*, retry: bool = True) -> Callable[[F], F]: ...
def once(function: Any = None, /, *, retry: bool = True) -> Any:
    """A function, called by a tool or under `@tool`, that is not called again once it has returned: a run that is
    retried or resumed gets what it returned the first time. What it raises is not kept.

    If the server died while it was under way, it is called again, with the same `idempotency_key()`; with
    `retry=False` it raises EffectUnknown instead.
    """
    if function is None:
        return functools.partial(_once, retry=retry)
    return _once(function, retry=retry)


def _once(function: Any, *, retry: bool) -> Any:
    name = f"{function.__module__}.{function.__qualname__}"

    def entry() -> Entry | None:
        ledger = current.get()
        return ledger.entry(name) if ledger is not None else None

    def decided(found: tuple[bool, bool, Any]) -> bool:
        done, begun, _ = found
        if begun and not done and not retry:
            raise EffectUnknown(f"{name} was under way when the server died.")
        return done

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def later(*args: Any, **kwargs: Any) -> Any:
            import asyncio

            if (call := entry()) is None:
                return await function(*args, **kwargs)
            if decided(found := await asyncio.wrap_future(call.begin())):
                return found[2]
            try:
                output = await function(*args, **kwargs)
            except Exception:
                await asyncio.wrap_future(call.forget())
                raise
            await asyncio.shield(asyncio.wrap_future(call.finish(output)))
            return output

        return later

    @functools.wraps(function)
    def now(*args: Any, **kwargs: Any) -> Any:
        if (call := entry()) is None:
            return function(*args, **kwargs)
        if decided(found := call.begin().result()):
            return found[2]
        try:
            output = function(*args, **kwargs)
        except Exception:
            call.forget().result()
            raise
        call.finish(output).result()
        return output

    return cast("Any", now)
