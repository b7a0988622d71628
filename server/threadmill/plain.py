"""A state as it is stored, without the graph that made it: when that is gone, fails to load, or has become another.

A conversation can always be read. What only the graph knows is left out: the results of tasks, and subgraphs' states.
"""

from langgraph.checkpoint.base import CheckpointTuple
from langgraph.types import Interrupt, PregelTask, StateSnapshot

from threadmill_checkpoints.saver.upcoming import shown, upcoming


def snapshot(found: CheckpointTuple) -> StateSnapshot:
    values = found.checkpoint["channel_values"]
    nodes, asked = upcoming(values), dict[str, list[Interrupt]]()
    for task_id, channel, value in found.pending_writes or []:
        if channel == "__interrupt__":
            asked.setdefault(task_id, []).extend(value if isinstance(value, list | tuple) else [value])
    tasks = [
        PregelTask(task_id, nodes[0] if len(nodes) == 1 else "", (), interrupts=tuple(one for one in given))
        for task_id, given in asked.items()
    ]
    return StateSnapshot(
        shown(values),
        tuple(nodes),
        found.config,
        found.metadata,
        found.checkpoint["ts"],
        found.parent_config,
        tuple(tasks),
        tuple(one for task in tasks for one in task.interrupts),
    )
