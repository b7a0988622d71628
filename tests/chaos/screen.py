"""What a client makes of the events of one thread, and what it cannot be told: each hole, repeat or stranger fails."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

ENDS = ("completed", "failed", "interrupted")


@dataclass
class Screen:
    """`word` begins every token of the thread. `cursor` is where to go on, `meaning` what each number stood for."""

    thread: str
    word: str
    cursor: int = 0
    texts: dict[str, str] = field(default_factory=dict)  # by message: finished, or as far as they have come
    done: set[str] = field(default_factory=set)
    values: Any = None
    meaning: dict[int, Any] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    ended: dict[str, str] = field(default_factory=dict)  # run: how
    attempts: int = 0

    @property
    def count(self) -> int:
        return len(self.meaning)

    def take(self, envelope: dict[str, Any]) -> None:
        """One event of version 2."""
        seq, name, params = envelope["seq"], envelope["event_id"], envelope["params"]
        assert envelope.get("thread_id", self.thread) == self.thread, "it belongs to another thread"
        assert seq > self.cursor, f"{seq} came after {self.cursor}"
        assert name not in self.names, f"{name} came twice"
        self.cursor = seq
        self.names.add(name)
        self.meaning[seq] = {
            key: value for key, value in envelope.items() if key not in ("thread_id", "subscription_id")
        }
        method, data = envelope["method"], params["data"]
        if method == "messages":
            self._message(data)
        elif method == "values" and not params["namespace"]:
            self.values = data
        elif method == "lifecycle" and not params["namespace"]:
            self._lifecycle(name.split(":")[1], data["event"])

    def _message(self, data: dict[str, Any]) -> None:
        message = data["id"]
        if data["event"] == "error":  # also of one whose end did not reach the disk before a crash
            del self.texts[message]
            self.done.discard(message)
            return
        assert message not in self.done, "nothing follows a finished message"
        if data["event"] == "message-start":
            assert message not in self.texts, "a message begins once"
            self.texts[message] = ""
        elif data["event"] == "content-block-delta":
            assert data["delta"]["offset"] == len(self.texts[message]), "a hole, or something twice"
            self._grow(message, data["delta"]["text"])
        elif data["event"] == "message-finish":
            text = self.texts[message]
            assert data["length"] == len(text)
            assert data["hash"] == hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
            self.done.add(message)

    def _grow(self, message: str, text: str) -> None:
        assert text.startswith(self.word), f"{text!r} is not of the thread of {self.word!r}"
        self.texts[message] = self.texts.get(message, "") + text

    def _lifecycle(self, run: str, event: str) -> None:
        if event == "running":
            assert run not in self.ended, "nothing follows the end of a run"
            self.attempts += 1
            for message in self.texts.keys() - self.done:  # what a dead attempt had not finished
                del self.texts[message]
        elif event in ENDS:
            assert run not in self.ended, "a run ends once"
            self.ended[run] = event

    # Version 1, a run at a time

    def take_part(self, run: str, event: str, data: Any, identifier: str | None) -> None:
        seq = int(identifier or 0)
        assert seq > self.cursor, f"{seq} came after {self.cursor}"
        self.cursor = seq
        self.meaning[seq] = (event, data)
        if event == "metadata":
            assert data["run_id"] == run
            self.attempts += 1
        elif event == "messages":
            chunk, metadata = data
            assert metadata["thread_id"] == self.thread
            if chunk["type"] == "AIMessageChunk" and chunk["content"]:
                self._grow(chunk["id"], chunk["content"])
        elif event in ("messages/partial", "messages/complete"):
            (message,) = data
            before = self.texts.get(message["id"], "")
            assert message["content"].startswith(before), "text only grows"
            if message["type"] == "ai" and len(message["content"]) > len(before):
                self._grow(message["id"], message["content"][len(before) :])
        elif event == "values":
            self.values = data

    # In the end

    def agrees(self, state: dict[str, Any]) -> None:
        """Byte for byte with the server's state: what was shown last, and what was streamed."""
        truth = {one["id"]: (one["type"], one["content"]) for one in state["messages"]}
        shown = {one["id"]: (one["type"], plain(one["content"])) for one in self.values["messages"]}
        assert shown == truth
        assert list(shown) == list(truth), "in the same order"
        for message, (kind, content) in truth.items():
            if kind == "ai":
                assert self.texts[message] == content
        assert all(text for text in self.texts.values())

    def complete(self, truth: "Screen", after: int = 0) -> None:
        """Nothing that the log has after `after` is missing here, and nothing here is different there."""
        for seq, meant in truth.meaning.items():
            if seq > after:
                assert self.meaning.get(seq) == meant, f"{seq}: {self.meaning.get(seq)} where the log has {meant}"


def plain(content: Any) -> str:
    return content if isinstance(content, str) else "".join(block["text"] for block in content)
