"""What a crash must not lose: the database, its migrations, and LangGraph's checkpoints and store on top of it.

Usable without the server. It imports neither `threadmill` nor a web framework.
"""
