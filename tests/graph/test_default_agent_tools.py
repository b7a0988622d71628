import json

import pytest

from graph.knowledge import knowledge_base

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Where is my latest order?", ["Querying your order…", "Found the latest transaction", "Order 4760: shipped"]),
        ("查一下我的最近一笔订单", ["正在查询您的订单…", "已找到最近一笔交易", "订单 4760：已发货"]),
    ],
)
async def test_a_lookup_tells_its_steps_in_the_language_of_the_person(chat, text, shown):
    turn = await chat.say(text)
    [call] = turn.messages[0].tool_calls
    statuses = turn.statuses(call["id"])
    assert [status["text"] for status in statuses] == shown
    assert [status["phase"] for status in statuses] == ["start", "progress", "done"]
    assert [(status["progress"], status["total"]) for status in statuses] == [(0, 2), (1, 2), (2, 2)]
    assert {(status["type"], status["tool"]) for status in statuses} == {("tool_status", "lookup_order")}
    assert statuses == turn.events
    assert "155.50 EUR" in turn.answer


async def test_independent_requests_are_called_together_and_all_answered(chat):
    turn = await chat.say("Where is order 4711, what is 15% of 80 and what is the return policy?")
    calls = turn.messages[0].tool_calls
    assert sorted(call["name"] for call in calls) == ["calculate", "lookup_order", "search_knowledge"]
    for call in calls:
        phases = [status["phase"] for status in turn.statuses(call["id"])]
        assert phases[0] == "start" and phases[-1] == "done"
        assert {status["tool"] for status in turn.statuses(call["id"])} == {call["name"]}
    done = [event["phase"] for event in turn.events].index("done")
    assert [event["phase"] for event in turn.events[:done]].count("start") == 3, "the calls overlap"
    assert "= 12" in turn.answer and "59.90 EUR" in turn.answer and "within 30 days" in turn.answer


async def test_one_failing_call_leaves_the_others_alone(chat):
    turn = await chat.say("Look up orders 9999 and 4711")
    wrong, right = sorted(turn.results("lookup_order"), key=lambda message: message.status)
    assert (wrong.status, wrong.text) == ("error", "There is no order 9999.")
    assert json.loads(right.text)["total"] == 59.9
    assert "There is no order 9999." in turn.answer and "59.90 EUR" in turn.answer


async def test_an_archive_that_times_out_is_tried_again_and_says_so(chat):
    turn = await chat.say("Where is order 3001?")
    [call] = turn.messages[0].tool_calls
    assert [status["text"] for status in turn.statuses(call["id"])] == [
        "Querying your order…",
        "Querying your order…",
        "Trying again (attempt 2)…",
        "Found order 3001",
        "Order 3001: delivered",
    ]
    assert "Kitchen scale" in turn.answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("What is 12 * (3 + 4)?", "12 * (3 + 4) = 84"),
        ("80 的 15% 是多少？", "80 * 15 / 100 = 12"),
        ("what is 1,200 plus 34.5", "1200 + 34.5 = 1234.5"),
        ("sqrt(2) * 10", "= 14.1421356237"),
        ("calculate 1/0", "division by zero"),
        ("calculate __import__('os').getcwd()", "only numbers"),
    ],
)
async def test_arithmetic_is_computed_or_refused_with_the_reason(chat, text, answer):
    turn = await chat.say(text)
    assert [name for name, _ in turn.calls] == ["calculate"]
    assert answer in turn.answer


@pytest.mark.parametrize(
    ("text", "file", "fact"),
    [
        ("How long does shipping take?", "shipping.md", "1-2 working days within Germany"),
        ("How do I reset my password?", "account.md", "works for 30 minutes"),
        ("What does the warranty cover?", "warranty.md", "two-year warranty"),
        ("退货政策是什么？", "zh-returns.md", "收货后 30 天内"),
        ("运费多少？", "zh-shipping.md", "4.90 欧元"),
        ("保修多久", "zh-warranty.md", "保修两年"),
    ],
)
async def test_answers_from_the_knowledge_base_cite_their_source(chat, text, file, fact):
    turn = await chat.say(text)
    assert fact in turn.answer
    first, _, sources = turn.answer.partition("Sources:" if text.isascii() else "来源：")
    assert "[1]" in first and f"({file})" in sources.splitlines()[1]
    [call] = turn.messages[0].tool_calls
    start, *_, done = turn.statuses(call["id"])
    assert call["args"]["query"] in start["text"]
    assert done["sources"][0] == {"n": 1, "title": done["sources"][0]["title"], "file": file}


async def test_the_knowledge_base_survives_any_query():
    for query in ("", "?", '"', "a", "NEAR(", "x" * 5000, "%_", "配", "\x00", "OR AND NOT"):
        assert len(knowledge_base().search(query)) <= 3
    assert knowledge_base().search("zeppelin") == []


async def test_facts_are_recalled_in_another_thread_but_not_by_another_person(chat):
    await chat.say("Remember that I like green tea", thread="1", user_id="ana@mill.example")
    await chat.say("记住我对花生过敏。", thread="1", user_id="ana@mill.example")
    await chat.say("Remember that I like green tea", thread="2", user_id="ana@mill.example")

    ana = await chat.say("What do you know about me?", thread="3", user_id="ana@mill.example")
    assert json.loads(ana.results("recall")[0].text)["memories"] == ["I like green tea", "我对花生过敏"]
    assert "- I like green tea" in ana.answer

    about = await chat.say("What do you know about my tea?", thread="4", user_id="ana@mill.example")
    assert json.loads(about.results("recall")[0].text)["memories"] == ["I like green tea"]

    other = await chat.say("你记得我什么？", thread="5", user_id="ben")
    assert "还没有记住" in other.answer
    nobody = await chat.say("What do you remember?", thread="6", user_id="")
    assert "I remember nothing" in nobody.answer


async def test_without_a_store_memory_refuses_and_the_run_goes_on(chat):
    from graph.agent import agent

    state = await agent.ainvoke({"messages": [("user", "Remember that I like tea")]})
    assert state["messages"][-2].status == "error"
    assert "no store" in state["messages"][-1].text
