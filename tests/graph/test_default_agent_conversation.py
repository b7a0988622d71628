import ast
import json
import shutil
import subprocess
import sys
from functools import reduce
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from graph.history import HISTORY_LIMIT, answered, left_out
from graph.model import TOKEN, DemoChatModel, chat_model

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.anyio


async def test_tokens_and_argument_pieces_add_up_to_the_stored_messages(chat):
    turn = await chat.say("退款政策是什么，还有查询订单 4744")
    spoken = [message for message in turn.messages if isinstance(message, AIMessage)]
    assert len(spoken) == 2 and len(spoken[0].tool_calls) == 2
    for message in spoken:
        chunks = turn.tokens[message.id]
        assert len(chunks) > 10 and all(len(TOKEN.findall(chunk.text)) <= 1 for chunk in chunks)
        whole = reduce(lambda left, right: left + right, chunks)
        assert (whole.text, whole.tool_calls) == (message.text, message.tool_calls)
        assert whole.usage_metadata == message.usage_metadata
        assert message.usage_metadata["output_tokens"] == len([c for c in chunks if c.text or c.tool_call_chunks])
    assert spoken[0].response_metadata["finish_reason"] == "tool_calls"


@given(st.text())
def test_splitting_into_tokens_loses_nothing(text):
    assert "".join(TOKEN.findall(text)) == text


async def test_the_demo_model_says_what_it_is_first_and_when_asked_for_help(chat):
    first = await chat.say("What is 1 + 1?")
    assert "offline demo model" in first.answer and "THREADMILL_MODEL" in first.answer
    assert "offline demo model" not in (await chat.say("What is 1 + 2?")).answer
    for text in ("help", "Who won the cup?"):
        assert (await chat.say(text)).answer.count("offline demo model") == 1
    assert "离线演示模型" in (await chat.say("你好", thread="2")).answer


@pytest.mark.parametrize(("text", "words"), [("Write a text of 300 words", 300), ("Tell me a long story", 400)])
async def test_a_long_text_has_the_length_asked_for(chat, text, words):
    await chat.say("hi")
    assert len((await chat.say(text)).answer.split()) == words


async def test_a_long_chinese_text_has_the_length_asked_for(chat):
    await chat.say("你好")
    assert len((await chat.say("写一个 500 字的故事")).answer) == 500


async def test_a_hundred_turns_keep_everything_and_show_the_model_the_recent_part(chat):
    for number in range(100):
        turn = await chat.say(f"What is {number} + 1?")
        assert turn.answer.startswith(f"{number} + 1 = {number + 1}")
    history = await chat.history()
    assert len(history) == 400 and len({message.id for message in history}) == 400
    trimmed = [event for event in turn.events if event["type"] == "history_trimmed"]
    assert trimmed == [{"type": "history_trimmed", "left_out": 360, "sent": 37}]


async def test_the_cut_is_before_a_human_message_and_keeps_the_current_turn():
    turns = [m for n in range(30) for m in (HumanMessage(f"q{n}"), AIMessage(f"a{n}"), AIMessage(f"b{n}"))]
    cut = left_out(turns)
    assert isinstance(turns[cut], HumanMessage) and HISTORY_LIMIT - 3 < len(turns) - cut <= HISTORY_LIMIT
    endless = [HumanMessage("old"), HumanMessage("now"), *(AIMessage("step") for _ in range(HISTORY_LIMIT + 5))]
    assert left_out(endless) == 1
    assert left_out([HumanMessage("only")]) == 0


async def test_an_open_tool_call_is_answered_for_the_model():
    call = {"name": "issue_refund", "args": {}, "id": "c1", "type": "tool_call"}
    history = answered([HumanMessage("refund"), AIMessage("", tool_calls=[call]), HumanMessage("never mind")])
    assert [message.type for message in history] == ["human", "ai", "tool", "human"]
    assert answered(history) == history


async def test_the_same_conversation_gets_the_same_reply_and_unbound_tools_are_not_called():
    asked = [HumanMessage("Where is order 4711?", id="h1")]
    model = DemoChatModel(delay=0)
    assert not (await model.ainvoke(asked)).tool_calls
    from graph.tools import TOOLS

    bound = model.bind_tools(TOOLS)
    first, second = await bound.ainvoke(asked), bound.invoke(asked)
    assert first.tool_calls == second.tool_calls and first.tool_calls[0]["name"] == "lookup_order"
    done = ToolMessage("There is no order 4711.", tool_call_id=first.tool_calls[0]["id"], status="error")
    assert (await bound.ainvoke([*asked, first, done])).text.startswith("There is no order 4711.")


async def test_text_blocks_are_read_like_text(chat):
    state = await chat.agent.ainvoke(
        {"messages": [HumanMessage([{"type": "text", "text": "What is 6 * 7?"}])]}, {"configurable": {"thread_id": "1"}}
    )
    assert "6 * 7 = 42" in state["messages"][-1].text


def test_a_named_model_without_the_extra_says_what_to_install(monkeypatch):
    monkeypatch.setenv("THREADMILL_MODEL", "openai:gpt-5-mini")
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    with pytest.raises(RuntimeError, match=r'pip install "threadmill\[models\]"'):
        chat_model()


def test_the_folder_works_as_a_template_anywhere(tmp_path):
    shutil.copytree(ROOT / "graph", tmp_path / "graph", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "langgraph.json", tmp_path)
    script = """
import importlib.util, json, pathlib, sys
file, name = json.load(open("langgraph.json"))["graphs"]["agent"]["path"].split(":")
sys.path[:0] = [str(pathlib.Path(".").resolve()), str(pathlib.Path(file).parent.resolve())]
spec = importlib.util.spec_from_file_location("loaded_by_path", file)
module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)
import asyncio
state = asyncio.run(getattr(module, name).ainvoke({"messages": [("user", "退货政策是什么，查询订单 4711")]}))
print(json.dumps({"files": sorted({m.__file__ for n, m in sys.modules.items() if n.startswith("graph.")}),
                  "answer": state["messages"][-1].text}))
"""
    ran = subprocess.run([sys.executable, "-P", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    seen = json.loads(ran.stdout)
    assert all(Path(file).is_relative_to(tmp_path) for file in seen["files"])
    assert "59.90 EUR" in seen["answer"] and "zh-returns.md" in seen["answer"]


def test_the_agent_describes_its_input_and_its_steps(chat):
    assert "messages" in chat.agent.get_input_jsonschema()["properties"]
    assert {"model", "tools"} <= set(chat.agent.get_graph().nodes)


def test_the_agent_is_ordinary_user_code():
    imported = set()
    for file in (ROOT / "graph").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    assert imported - sys.stdlib_module_names == {"graph", "langchain_core", "langgraph", "typing_extensions"}
