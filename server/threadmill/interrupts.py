"""What threads wait for: a row per question that a graph asked with `interrupt()` and nobody has answered yet.

The newest checkpoint says what is pending (`of_head`). The rows repeat it for lists; whatever moves a thread on writes
them in the same transaction (`put`).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Self

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.pregel._task_status import read_task_statuses

from threadmill.ids import stamp
from threadmill.jsonable import dumps_text, loads
from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver import rows as checkpoints
from threadmill_checkpoints.saver.blobs import Reader

ID = re.compile("[0-9a-f]{32}")

# In a SELECT from threads: [task id, interrupt id, value] each, which `by_task` reads.
LISTED = (
    "(SELECT json_group_array(json_array(task_id, interrupt_id, json(value))) FROM (SELECT task_id, interrupt_id, "
    "value FROM interrupts WHERE interrupts.thread_id = threads.thread_id ORDER BY position))"
)


@dataclass(frozen=True, slots=True)
class Pending:
    """`namespace` is the checkpoint_ns of the graph whose node asks, `run_id` the run that asked, `value` JSON."""

    interrupt_id: str
    task_id: str
    namespace: str
    run_id: str | None
    value: str

    @classmethod
    def from_row(cls, row: Row) -> Self:
        return cls(**{name: row[name] for name in cls.__slots__})

    def shown(self) -> dict[str, Any]:
        """As the event protocol tells of it."""
        namespace = self.namespace.split("|") if self.namespace else []
        return {"interrupt_id": self.interrupt_id, "value": loads(self.value), "namespace": namespace}


def of_head(tx: Tx, thread_id: str, serde: SerializerProtocol) -> list[Pending]:
    """As the newest checkpoint has them, in the order of its tasks."""
    written = checkpoints.head_writes(tx, thread_id)
    if not any(_asks(row) for row in written):  # as after most runs
        return []
    reader = Reader(tx, serde)
    statuses = read_task_statuses(
        (row["task_id"], row["channel"], reader.write(row) if _asks(row) else None) for row in written
    )
    askers = {row["task_id"]: row["run_id"] for row in written if _asks(row)}
    return [
        Pending(
            one.id, task_id, _namespace(tx, reader, thread_id, task_id, one.id), askers[task_id], dumps_text(one.value)
        )
        for task_id, status in statuses.items()
        for one in status.pending_interrupts
    ]


def of_thread(tx: Tx, thread_id: str) -> list[Pending]:
    rows = tx.all("SELECT * FROM interrupts WHERE thread_id = :thread_id ORDER BY position", thread_id=thread_id)
    return [Pending.from_row(row) for row in rows]


def addressed(
    tx: Tx, thread_id: str, resume: Any, serde: SerializerProtocol, *, at: str | None, again: bool, strict: bool
) -> Any:
    """A run's `resume` as {interrupt id: answer}, without the answers that nobody waits for (unless `strict`).

    A bare value would answer whatever is asked first: also the next question, in a later attempt (`again`) or in a
    later run, as LangGraph keeps it. So it gets the id of the one interrupt that was pending when the run began. It
    stays bare when there was none (a breakpoint) or several (an error), and at a checkpoint that is not the newest.
    """
    if at is not None and at != (checkpoints.head_run(tx, thread_id) or (None,))[0]:
        return resume
    pending = of_head(tx, thread_id, serde)
    if not isinstance(resume, dict) or not all(ID.fullmatch(str(key)) for key in resume):
        asked = of_thread(tx, thread_id) if again else pending
        if len(asked) != 1 or not (again or _stands(tx, thread_id, asked[0])):
            return resume
        resume = {asked[0].interrupt_id: resume}
    waiting = {one.interrupt_id for one in pending}
    return resume if strict else {key: answer for key, answer in resume.items() if key in waiting}


def put(tx: Tx, thread_id: str, pending: Sequence[Pending]) -> None:
    """Replace what the thread waits for. A question that is asked again keeps its time."""
    since = tx.all("SELECT interrupt_id, created_at FROM interrupts WHERE thread_id = :thread_id", thread_id=thread_id)
    if not since and not pending:  # as after most runs
        return
    tx.run("DELETE FROM interrupts WHERE thread_id = :thread_id", thread_id=thread_id)
    before, now = {row["interrupt_id"]: row["created_at"] for row in since}, stamp(tx.now)
    tx.many(
        "INSERT OR REPLACE INTO interrupts (thread_id, position, created_at, interrupt_id, task_id, namespace, run_id, "
        "value) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (thread_id, position, before.get(one.interrupt_id, now), *astuple(one))
            for position, one in enumerate(pending)
        ],
    )


def copy(tx: Tx, source: str, target: str) -> None:
    tx.run(
        "INSERT INTO interrupts (thread_id, interrupt_id, position, task_id, namespace, run_id, value, created_at) "
        "SELECT :target, interrupt_id, position, task_id, namespace, run_id, value, created_at FROM interrupts "
        "WHERE thread_id = :source",
        source=source,
        target=target,
    )


def by_task(listed: str) -> dict[str, list[dict[str, Any]]]:
    """As a thread shows them: task id → [{id, value}]."""
    found: dict[str, list[dict[str, Any]]] = {}
    for task_id, interrupt_id, value in loads(listed):
        found.setdefault(task_id, []).append({"id": interrupt_id, "value": value})
    return found


def unanswered(ids: Sequence[str]) -> str:
    """Why a new turn that must not pass over questions is refused, and what else there is to do."""
    return (
        f"The thread waits for an answer to {', '.join(ids)}. Answer with command.resume; or send the input without "
        "if_interrupted: reject, which begins a new turn and leaves the question unanswered."
    )


def _asks(row: Row) -> bool:
    return bool(row["channel"] == "__interrupt__")


def _namespace(tx: Tx, reader: Reader, thread_id: str, task_id: str, interrupt_id: str) -> str:
    """A graph hands what its subgraphs ask on to its own parent: the innermost that wrote it is the one that asks."""
    nested = checkpoints.interrupts_below(tx, thread_id, task_id)
    asking = (row["checkpoint_ns"] for row in nested if interrupt_id in _ids(reader.write(row)))
    return max(asking, key=len, default="")


def _stands(tx: Tx, thread_id: str, one: Pending) -> bool:
    """False when the state of the subgraph that asked, or of one around it, was changed since: it will ask under
    another id."""
    return all(any(_asks(row) for row in checkpoints.head_writes(tx, thread_id, ns)) for ns in _around(one.namespace))


def _around(namespace: str) -> Iterator[str]:
    """The graph of a namespace and those around it, without the root. A number tells calls of one node apart."""
    parts = namespace.split("|")
    for n, after in enumerate([*parts[1:], ""], 1):
        if not after.isdigit():
            yield "|".join(parts[:n])


def _ids(written: Any) -> Iterable[str]:
    return [one.id for one in (written if isinstance(written, list | tuple) else [written])]
