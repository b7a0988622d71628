"""A thread per topic: each conversation is a thread of its own, and the list shows them all."""

from langgraph_sdk import get_sync_client

client = get_sync_client(url="http://127.0.0.1:2024")

for topic, question in {"orders": "Where is order 4711?", "sums": "What is 15% of 80?"}.items():
    thread = client.threads.create(metadata={"topic": topic})["thread_id"]
    client.runs.wait(thread, "agent", input={"messages": [{"role": "user", "content": question}]})

for topic in ("orders", "sums"):
    (found,) = client.threads.search(metadata={"topic": topic}, limit=1)
    print(f"{topic}: {found['title']} ({found['status']}, {found['message_count']} messages)")
