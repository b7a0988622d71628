"""LangGraph checkpointers on our databases."""

from threadmill_checkpoints.saver.sqlite import SqliteSaver

__all__ = ["SqliteSaver"]
