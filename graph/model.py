"""The chat model: the one THREADMILL_MODEL names, or an offline demo model that follows a script."""

import asyncio
import importlib
import json
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import cache
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.chat_models import agenerate_from_stream, generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from graph.script import reply

DEFAULT_DELAY_MS = 15
TOKEN = re.compile(r"\s*(?:[!-~]+|\S)|\s+")


def chat_model() -> BaseChatModel:
    """THREADMILL_MODEL is `provider:name`, e.g. `openai:gpt-5-mini`.

    OPENAI_BASE_URL points an `openai:` model at any compatible server.
    """
    name = os.environ.get("THREADMILL_MODEL", "").strip()
    return _provided(name) if name else DemoChatModel(delay=_delay())


def reading_pause() -> float:
    """Seconds a tool status stays before the next one: local data answers too fast to read. None with a real model."""
    return 0.0 if os.environ.get("THREADMILL_MODEL", "").strip() else 20 * _delay()


def _delay() -> float:
    return float(os.environ.get("THREADMILL_DEMO_DELAY_MS") or DEFAULT_DELAY_MS) / 1000


@cache
def _provided(name: str) -> BaseChatModel:
    try:
        models = importlib.import_module("langchain.chat_models")
    except ImportError as error:
        hint = 'THREADMILL_MODEL needs LangChain\'s model providers: pip install "threadmill[models]".'
        raise RuntimeError(hint) from error
    model: BaseChatModel = models.init_chat_model(name)
    return model


class DemoChatModel(BaseChatModel):
    """Streams the script's reply token by token, tool calls included. The same conversation gets the same reply."""

    delay: float = DEFAULT_DELAY_MS / 1000
    """Seconds between two tokens."""
    model_name: str = "threadmill-demo"

    @property
    def _llm_type(self) -> str:
        return "threadmill-demo"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages, **kwargs):
            time.sleep(self.delay)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages, **kwargs):
            await asyncio.sleep(self.delay)
            yield chunk

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, run_manager, **kwargs))

    def _chunks(self, messages: list[BaseMessage], **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        said = reply(messages, {tool["function"]["name"] for tool in kwargs.get("tools", [])})
        pieces = [AIMessageChunk(content=token) for token in TOKEN.findall(said.text)]
        for index, call in enumerate(said.calls):
            opening = tool_call_chunk(name=call["name"], args="", id=call["id"], index=index)
            arguments = TOKEN.findall(json.dumps(call["args"], ensure_ascii=False))
            rest = [tool_call_chunk(args=piece, index=index) for piece in arguments]
            pieces += [AIMessageChunk(content="", tool_call_chunks=[chunk]) for chunk in (opening, *rest)]
        asked = sum(len(TOKEN.findall(message.text)) for message in messages)
        usage = UsageMetadata(input_tokens=asked, output_tokens=len(pieces), total_tokens=asked + len(pieces))
        finish = {"model_name": self.model_name, "finish_reason": "tool_calls" if said.calls else "stop"}
        last = AIMessageChunk(content="", usage_metadata=usage, response_metadata=finish, chunk_position="last")
        yield from (ChatGenerationChunk(message=piece) for piece in [*pieces, last])
