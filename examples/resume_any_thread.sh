#!/usr/bin/env bash
# Resume any thread: today, tomorrow, after a restart. All that is needed is its id.
set -euo pipefail
url=http://127.0.0.1:2024
thread=$(curl -sf $url/threads -d '{}' | jq -r .thread_id)

run() {
  curl -sf $url/threads/$thread/runs/wait -o /dev/null -d "$1"
}

run '{"assistant_id": "agent", "input": {"messages": [{"role": "user", "content": "Refund order 4712"}]}}'

# Another program, another day: the thread waits for a person.
curl -sf $url/threads/$thread | jq -c '{status, asks: [.interrupts[][].value]}'
run '{"assistant_id": "agent", "command": {"resume": "approve"}}'

# And on with the conversation, which remembers all of it.
run '{"assistant_id": "agent", "input": {"messages": [{"role": "user", "content": "What is 15% of 80?"}]}}'
curl -sf $url/threads/$thread/state | jq -r '.values.messages[] | "\(.type): \(.content)"'
