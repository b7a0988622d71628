"""What a caller may see: a filter on metadata that every query of the data layer carries.

An authorisation handler answers with such a filter (see `auth`). Functions that read or change rows a client names take
a `Scope`, so that a route cannot forget it; a row outside the scope does not exist for the caller.
"""

import json
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from threadmill_checkpoints.database import Tx


@dataclass(frozen=True, slots=True)
class Scope:
    """`filter` in the form of the SDK: {"owner": "x"}, {"owner": {"$eq": "x"}}, {"allowed": {"$contains": "x"}},
    and $or / $and of such; None sees everything.
    """

    filter: Mapping[str, Any] | None = None

    def condition(self, tx: Tx, column: str = "metadata") -> str:
        """SQL for a WHERE; its parameter is `scope` (see `params`)."""
        return "TRUE" if not self.filter else tx.dialect.matches(column, "scope")

    @property
    def params(self) -> dict[str, str]:
        return {} if not self.filter else {"scope": json.dumps(self.filter)}

    def holds(self, tx: Tx, metadata: Mapping[str, Any]) -> bool:
        """Whether a row with this metadata would be in it."""
        sql = f"SELECT 1 WHERE {self.condition(tx, ':metadata')}"
        return tx.one(sql, metadata=json.dumps(metadata), **self.params) is not None


# By which keys of metadata authorisation has filtered in this request: they must stay searchable.
FILTERED: ContextVar[frozenset[str]] = ContextVar("filtered", default=frozenset())

ALL = Scope()  # the server itself, and every caller where no auth is configured


def filtered(filter: Mapping[str, Any]) -> Iterator[str]:
    """The keys of metadata that a filter looks at."""
    for key, value in filter.items():
        if key in ("$or", "$and"):
            for one in value:
                yield from filtered(one)
        else:
            yield key
