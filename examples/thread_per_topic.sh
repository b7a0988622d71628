#!/usr/bin/env bash
# A thread per topic: each conversation is a thread of its own, and the list shows them all.
set -euo pipefail
url=http://127.0.0.1:2024

ask() { # topic, question
  thread=$(curl -sf $url/threads -d "{\"metadata\": {\"topic\": \"$1\"}}" | jq -r .thread_id)
  curl -sf $url/threads/$thread/runs/wait -o /dev/null -d "{
    \"assistant_id\": \"agent\",
    \"input\": {\"messages\": [{\"role\": \"user\", \"content\": \"$2\"}]}
  }"
}

ask orders "Where is order 4711?"
ask sums "What is 15% of 80?"

for topic in orders sums; do
  curl -sf $url/threads/search -d "{\"metadata\": {\"topic\": \"$topic\"}, \"limit\": 1}" |
    jq -r ".[] | \"$topic: \(.title) (\(.status), \(.message_count) messages)\""
done
