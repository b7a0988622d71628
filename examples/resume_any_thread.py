"""Resume any thread: today, tomorrow, after a restart. All that is needed is its id."""

from langgraph_sdk import get_sync_client

client = get_sync_client(url="http://127.0.0.1:2024")
thread = client.threads.create()["thread_id"]
client.runs.wait(thread, "agent", input={"messages": [{"role": "user", "content": "Refund order 4712"}]})

# Another program, another day: the thread waits for a person, so it is found by its status.
waiting = client.threads.search(status="interrupted", ids=[thread])[0]
for questions in waiting["interrupts"].values():
    print("it asks:", questions[0]["value"])
client.runs.wait(waiting["thread_id"], "agent", command={"resume": "approve"})

# And on with the conversation, which remembers all of it.
client.runs.wait(thread, "agent", input={"messages": [{"role": "user", "content": "What is 15% of 80?"}]})
for message in client.threads.get_state(thread)["values"]["messages"]:
    print(f"{message['type']}: {message['content']}")
