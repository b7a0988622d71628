"""Fork from a checkpoint: a new thread that knows all up to there, and nothing after."""

import httpx
from langgraph_sdk import get_sync_client

url = "http://127.0.0.1:2024"
client = get_sync_client(url=url)


def say(thread: str, text: str) -> str:
    state = client.runs.wait(thread, "agent", input={"messages": [{"role": "user", "content": text}]})
    return str(state["messages"][-1]["content"])


source = client.threads.create()["thread_id"]
say(source, "Where is order 4711?")
checkpoint = client.threads.get_state(source)["checkpoint"]["checkpoint_id"]
say(source, "What is 15% of 80?")

fork = httpx.post(f"{url}/threads/{source}/fork", json={"checkpoint_id": checkpoint, "title": "What if"}).json()
print(f"{fork['title']}: {fork['message_count']} messages, forked from {fork['forked_from']['thread_id'] == source}")
print(say(fork["thread_id"], "What is 20% of 80?"))
print("the source still ends with:", client.threads.get_state(source)["values"]["messages"][-1]["content"])
