#!/usr/bin/env bash
# Fork from a checkpoint: a new thread that knows all up to there, and nothing after.
set -euo pipefail
url=http://127.0.0.1:2024

say() { # thread, text
  curl -sf $url/threads/$1/runs/wait -d "{
    \"assistant_id\": \"agent\",
    \"input\": {\"messages\": [{\"role\": \"user\", \"content\": \"$2\"}]}
  }" | jq -r '.messages[-1].content'
}

source=$(curl -sf $url/threads -d '{}' | jq -r .thread_id)
say $source "Where is order 4711?" > /dev/null
checkpoint=$(curl -sf $url/threads/$source/state | jq -r .checkpoint.checkpoint_id)
say $source "What is 15% of 80?" > /dev/null

fork=$(curl -sf $url/threads/$source/fork -d "{\"checkpoint_id\": \"$checkpoint\", \"title\": \"What if\"}")
jq -r '"\(.title): \(.message_count) messages"' <<< "$fork"
say "$(jq -r .thread_id <<< "$fork")" "What is 20% of 80?"
echo "the source still ends with: $(curl -sf $url/threads/$source/state | jq -r '.values.messages[-1].content')"
