"""Which endpoints a client has no method for: what the page says where there is no ✓.

Tests beside those of each client look into it, and fail when it has grown a method that nothing uses.
"""

NEITHER_JAVASCRIPT = frozenset(
    {
        *(
            "GET /ok",
            "GET /info",
            "GET /metrics",
            "GET /threads/{thread_id}/storage",
            "GET /threads/{thread_id}/history",
        ),
        *("GET /runs/crons/{cron_id}", "POST /mcp", "GET /.well-known/agent-card.json", "POST /a2a/{assistant_id}"),
    }
)
EVENT_PROTOCOL = frozenset({"POST /threads/{thread_id}/commands", "POST /threads/{thread_id}/stream/events"})
WITHOUT = {
    "Python 0.3": EVENT_PROTOCOL,
    "JavaScript 1.12": NEITHER_JAVASCRIPT,
    "JavaScript 1.11": NEITHER_JAVASCRIPT,
    "JavaScript 2.0": NEITHER_JAVASCRIPT | EVENT_PROTOCOL | {"POST /threads/prune", "POST /runs/cancel"},
}
ONLY = {  # all that these ask for
    "RemoteGraph": frozenset(
        {
            *("GET /assistants/{assistant_id}/graph", "POST /threads/{thread_id}/state/checkpoint"),
            *("POST /threads/{thread_id}/state", "POST /threads/{thread_id}/history", "POST /runs/stream"),
            *("POST /threads/{thread_id}/runs/stream", "GET /threads/{thread_id}/runs/{run_id}"),
            *EVENT_PROTOCOL,  # stream_events(version="v3")
        }
    ),
    "useStream": frozenset(
        {
            *("POST /threads", "GET /threads/{thread_id}/state", "POST /threads/{thread_id}/history"),
            *("POST /threads/{thread_id}/runs", "POST /threads/{thread_id}/runs/stream"),
            *("GET /threads/{thread_id}/runs/{run_id}/stream", "POST /threads/{thread_id}/runs/{run_id}/cancel"),
        }
    ),
    "MCP": frozenset({"POST /mcp"}),
}


def can_ask(client: str, route: str) -> bool:
    return route in ONLY[client] if client in ONLY else route not in WITHOUT.get(client, ())
