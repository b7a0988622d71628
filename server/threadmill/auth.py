"""Who calls, and what they may do: the handlers of `langgraph_sdk.Auth`, as a user's auth file defines them.

Authentication answers with a user or refuses. Authorisation is asked for each action on a resource; it may change the
value that will be stored, and answers with a `Scope` that every query of the request carries.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from langgraph_sdk import Auth
from langgraph_sdk.auth.exceptions import HTTPException
from langgraph_sdk.auth.types import AuthContext

from threadmill.errors import Forbidden, ThreadmillError
from threadmill.scope import ALL, FILTERED, Scope, filtered

IDS = ("thread_id", "assistant_id", "run_id", "cron_id")  # handlers get them as the SDK's types have them


class Refused(ThreadmillError):
    """A handler refused with a status of its own."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status  # type: ignore[misc]  # known only here
        self.headers = dict(headers or {})


class User:
    """What an authentication handler said about the caller: by attribute, by key, and storable with a run."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = {"is_authenticated": True, "permissions": [], **fields}
        self._fields.setdefault("display_name", self._fields["identity"])

    @property
    def identity(self) -> str:
        return str(self._fields["identity"])

    @property
    def display_name(self) -> str:
        return str(self._fields["display_name"])

    @property
    def is_authenticated(self) -> bool:
        return bool(self._fields["is_authenticated"])

    @property
    def permissions(self) -> Sequence[str]:
        return list(self._fields["permissions"] or ())

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_fields"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, key: str) -> Any:
        return self._fields[key]

    def __contains__(self, key: object) -> bool:
        return key in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def to_dict(self) -> dict[str, Any]:
        return dict(self._fields)


@dataclass(frozen=True, slots=True)
class Caller:
    """One request's user. Without auth there is none, and everything is allowed."""

    user: User | None = None
    auth: Auth | None = None

    async def may(self, resource: str, action: str, value: dict[str, Any] | None = None) -> Scope:
        """The rows the caller may reach with this action. The handler may change `value` in place.

        Raises Forbidden or Refused.
        """
        handler = _handler(self.auth, resource, action)
        if handler is None:
            return ALL
        permissions = list(self.user.permissions) if self.user is not None else []
        context = AuthContext(user=self.user, permissions=permissions, resource=resource, action=action)  # type: ignore[arg-type]
        value = {} if value is None else value
        ids = {key: item for key in IDS if isinstance(item := value.get(key), str)}
        value |= {key: _uuid(item) for key, item in ids.items()}
        try:
            answer = await handler(ctx=context, value=value)
        except HTTPException as error:
            raise Refused(error.status_code, str(error.detail), error.headers) from error
        except AssertionError as error:
            raise Forbidden(str(error) or "Forbidden") from error
        value |= ids
        if answer is None or answer is True:
            return ALL
        if answer is False:
            raise Forbidden("Forbidden")
        if not isinstance(answer, Mapping):
            raise TypeError(f"the auth handler for {resource}.{action} returned {type(answer).__name__}")
        FILTERED.set(FILTERED.get() | {*filtered(answer)})
        return Scope(dict(answer))


NOBODY = Caller()


@dataclass(frozen=True, slots=True)
class Call:
    """What an authentication handler may ask about, by the names of its parameters."""

    request: Any
    path: str
    method: str
    path_params: Mapping[str, str]
    query_params: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    body: Any = None
    scope: Mapping[str, Any] = field(default_factory=dict)

    @property
    def authorization(self) -> str | None:
        value = self.headers.get(b"authorization")
        return value.decode("latin-1") if value is not None else None


async def authenticate(auth: Auth | None, call: Call) -> Caller:
    """Raises Refused (401) when the handler does not know the caller."""
    if auth is None:
        return NOBODY
    handler = auth._authenticate_handler
    if handler is None:
        return Caller(None, auth)
    wanted = inspect.signature(handler).parameters
    try:
        answer: Any = handler(**{name: getattr(call, name, None) for name in wanted})
        if inspect.isawaitable(answer):
            answer = await answer
    except HTTPException as error:
        raise Refused(error.status_code, str(error.detail), error.headers) from error
    except AssertionError as error:
        raise Refused(401, str(error) or "Unauthorized") from error
    return Caller(User(_fields(answer)), auth)


def _uuid(text: str) -> UUID | str:
    try:
        return UUID(text)
    except ValueError:
        return text


def _fields(answer: Any) -> dict[str, Any]:
    """A user may come as an identity, a (permissions, user) pair, a mapping, or an object."""
    if isinstance(answer, str):
        return {"identity": answer}
    if isinstance(answer, tuple) and len(answer) == 2:
        return {**_fields(answer[1]), "permissions": list(answer[0])}
    if isinstance(answer, Mapping):
        found = dict(answer)
    else:
        dump: Callable[[], Any] | None = getattr(answer, "model_dump", None) or getattr(answer, "dict", None)
        found = dict(dump()) if dump is not None else dict(getattr(answer, "__dict__", {}))
        found.setdefault("identity", getattr(answer, "identity", None))
    if not found.get("identity"):
        raise Refused(401, "Unauthorized")
    return found


def _handler(auth: Auth | None, resource: str, action: str) -> Callable[..., Any] | None:
    """The most specific one: for the action, for the resource, for the action anywhere, for everything."""
    if auth is None:
        return None
    for key in ((resource, action), (resource, "*"), ("*", action)):
        if auth._handlers.get(key):
            return auth._handlers[key][-1]
    return auth._global_handlers[-1] if auth._global_handlers else None
