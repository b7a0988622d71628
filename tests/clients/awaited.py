"""The synchronous client with the face of the asynchronous one, so that one scenario fits both."""

from collections.abc import Generator
from functools import partial
from typing import Any

from anyio import to_thread

END = object()


class Awaited:
    """Attributes of `own`; its methods are called in a thread when awaited or iterated."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._own, name)
        return partial(Call, found) if callable(found) else Awaited(found)


class Call:
    def __init__(self, method: Any, *args: Any, **kwargs: Any) -> None:
        self._method = partial(method, *args, **kwargs)
        self._parts: Any = None

    def __await__(self) -> Generator[Any, Any, Any]:
        return to_thread.run_sync(self._method).__await__()

    def __aiter__(self) -> "Call":
        return self

    async def __anext__(self) -> Any:
        if self._parts is None:
            self._parts = await to_thread.run_sync(self._method)
        part = await to_thread.run_sync(next, self._parts, END)
        if part is END:
            raise StopAsyncIteration
        return part

    async def aclose(self) -> None:
        if self._parts is not None:
            await to_thread.run_sync(self._parts.close)
