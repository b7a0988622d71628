"""A message that the host's code puts into a thread, without a run."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from threadmill.errors import Conflict
from threadmill.events.event import POSTED
from threadmill.ids import new_id, parse_id
from threadmill.jsonable import dumps
from threadmill.runtime import Runtime
from threadmill.scope import ALL
from threadmill.state import Checkpoint

LOOK_S = 1.0


async def post(
    here: Runtime,
    thread_id: str,
    message: str | Mapping[str, Any],
    *,
    author: str | None,
    as_node: str | None,
    wait: bool,
) -> dict[str, Any]:
    """On the state loop; see `App.post_message`."""
    thread_id = parse_id(thread_id, "thread")
    said: dict[str, Any] = {"role": "user", "content": message} if isinstance(message, str) else dict(message)
    said.setdefault("id", new_id())
    if author is not None:
        said["additional_kwargs"] = {**(said.get("additional_kwargs") or {}), "author": author}
    with here.signals.subscribe(f"thread:{thread_id}") as changed:
        while True:
            try:
                place = await here.states.update(ALL, thread_id, Checkpoint(), {"messages": [said]}, as_node)
                break
            except Conflict:
                if not wait:
                    raise
            await changed.wait(LOOK_S)
    told = dumps({"author": author, "message": said, "checkpoint": place["checkpoint"]})
    await here.database.write(partial(here.log.announce, thread_id=thread_id, method=POSTED, data=told))
    return said
