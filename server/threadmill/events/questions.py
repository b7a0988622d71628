"""What `interrupt` is asked with, made fit to be copied."""

from dataclasses import asdict
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langgraph.errors import GraphInterrupt

from threadmill.jsonable import plain

COPIED = frozenset({"tasks", "checkpoints", "debug"})  # modes for which LangGraph makes a dict of it


class Questions(BaseCallbackHandler):
    """A question with an open file in it, say, would fail the run in LangGraph: it becomes what clients see of it."""

    run_inline = True  # before the task's writes are looked at

    def on_chain_error(self, error: BaseException, **_: Any) -> None:
        for one in error.args[0] if isinstance(error, GraphInterrupt) and error.args else ():
            try:
                asdict(one)
            except Exception:
                one.value = plain(one.value)
