import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.approval import Approval, read_approval

pytestmark = pytest.mark.anyio

APPROVALS = [
    True, "approve", " Approved! ", "yes", "同意", '{"type": "approve"}', {"approved": True}, {"type": "accept"},
    [{"type": "accept", "args": None}], {"decisions": [{"type": "approve"}]}, {"decision": "approve"},
]  # fmt: skip
REJECTIONS = [
    False, "no", "reject", "拒绝", {"approved": False}, {"type": "reject"}, [{"type": "ignore"}],
    {"decisions": [{"type": "reject", "message": "Sorry"}]}, {"approved": False, "amount": 5},
]  # fmt: skip
EDITS = [
    {"type": "edit", "amount": 5.5}, {"type": "edit", "args": {"amount": "5.50"}}, {"approved": True, "amount": 5.5},
    {"type": "edit", "args": {"action": "issue_refund", "args": {"amount": 5.5}}},
    {"decisions": [{"type": "edit", "edited_action": {"name": "issue_refund", "args": {"amount": 5.5}}}]},
]  # fmt: skip
UNCLEAR = [None, "", "maybe", 7, {}, {"type": "edit"}, {"approved": True, "amount": "lots"}, [], [True, True], "{"]


async def stored(chat, order="4711"):
    item = await chat.store.aget(("refunds",), order)
    return item and item.value


async def test_the_refund_asks_with_everything_a_person_needs_and_nothing_has_happened_yet(chat):
    turn = await chat.say("Refund order 4711 because it broke")
    assert turn.calls == [
        ("lookup_order", {"order_id": "4711"}),
        ("issue_refund", {"order_id": "4711", "reason": "it broke"}),
    ]
    [asked] = turn.interrupts
    assert asked.value["question"] == "Refund 59.90 EUR for order 4711?"
    assert asked.value["amount"] == 59.9 and asked.value["order"]["id"] == "4711"
    assert asked.value["reason"] == "it broke"
    assert asked.value["options"] == asked.value["response_schema"]["properties"]["type"]["enum"]
    [request], [config] = asked.value["action_requests"], asked.value["review_configs"]
    assert (request["name"], request["args"]) == ("issue_refund", {"amount": 59.9}), "only what may be edited"
    assert request["description"] == asked.value["question"]
    assert (config["action_name"], sorted(config["allowed_decisions"])) == (
        "issue_refund",
        sorted(asked.value["options"]),
    )
    assert json.loads(json.dumps(asked.value)) == asked.value
    assert await stored(chat) is None


@pytest.mark.parametrize("answer", [True, {"type": "accept"}, "approve"])
async def test_an_approved_refund_is_written_and_reported(chat, answer):
    await chat.say("Refund order 4711")
    turn = await chat.resume(answer)
    [result] = turn.results("issue_refund")
    assert [status["phase"] for status in turn.statuses(result.tool_call_id)] == ["start", "progress", "done"]
    assert (await stored(chat))["amount"] == 59.9
    assert "Refunded 59.90 EUR for order 4711; the refund number is RF-4711." in turn.answer
    assert "Refunded: 59.90 EUR" in (await chat.say("Where is order 4711?")).answer


async def test_a_rejected_refund_says_so_and_moves_nothing(chat):
    await chat.say("给订单 4744 退款")
    turn = await chat.resume({"type": "reject", "reason": "超过期限"})
    assert await stored(chat, "4744") is None
    assert turn.results("issue_refund")[0].status == "success"
    assert "被人工拒绝 (超过期限)" in turn.answer


@pytest.mark.parametrize("answer", EDITS)
async def test_a_person_may_change_the_amount(chat, answer):
    await chat.say("Refund order 4711")
    assert "Refunded 5.50 EUR" in (await chat.resume(answer)).answer
    assert (await stored(chat))["amount"] == 5.5


async def test_an_unclear_or_impossible_answer_is_asked_again(chat):
    await chat.say("Refund 20 euros for order 4711")
    unclear = await chat.resume("perhaps")
    assert unclear.interrupts[0].value["question"].startswith("Please answer approve, reject or edit.")
    too_much = await chat.resume({"type": "edit", "amount": 60})
    assert "0.01 to 59.90 EUR, not 60" in too_much.interrupts[0].value["question"]
    assert await stored(chat) is None
    await chat.resume(True)
    assert (await stored(chat))["amount"] == 20.0


async def test_an_order_is_refunded_once_even_from_another_thread(chat):
    await chat.say("Refund order 4711", thread="1")
    await chat.say("Refund order 4711", thread="2")
    await chat.resume({"type": "edit", "amount": 10}, thread="1")
    late = await chat.resume(True, thread="2")
    assert late.results("issue_refund")[0].status == "error"
    assert "already refunded: 10.00 EUR (RF-4711)" in late.answer
    again = await chat.say("Refund order 4711", thread="3")
    assert not again.interrupts and "already refunded" in again.answer
    assert (await stored(chat))["amount"] == 10.0


async def test_a_replayed_call_neither_asks_nor_pays_again(chat):
    await chat.say("Refund order 4711")
    config = {"configurable": {"thread_id": "1"}}
    waiting = await chat.agent.aget_state(config)
    await chat.resume(True)
    paid = await stored(chat)
    replayed = await chat.agent.ainvoke(None, waiting.config)
    assert "__interrupt__" not in replayed
    assert "Refunded 59.90 EUR" in replayed["messages"][-1].text
    assert await stored(chat) == paid


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("Refund order 9999", "There is no order 9999."),
        ("Refund order 4688", "Order 4688 is cancelled: nothing to refund."),
        ("Refund 500 euros for order 4711", "can be refunded by 0.01 to 59.90 EUR, not 500"),
        ("给订单 4688 退款", "订单 4688 已取消"),
    ],
)
async def test_an_impossible_refund_is_refused_without_asking_anyone(chat, text, refusal):
    turn = await chat.say(text)
    assert not turn.interrupts and refusal in turn.answer


async def test_two_refunds_wait_side_by_side_and_get_their_own_answers(chat):
    turn = await chat.say("Refund orders 4711 and 4712")
    ids = {asked.value["order"]["id"]: asked.id for asked in turn.interrupts}
    done = await chat.resume({ids["4711"]: True, ids["4712"]: {"type": "reject"}})
    assert await stored(chat, "4711") and not await stored(chat, "4712")
    assert "Refunded 59.90 EUR for order 4711" in done.answer and "refund of order 4712 was rejected" in done.answer


async def test_writing_something_else_leaves_the_request_behind(chat):
    await chat.say("Refund order 4711")
    turn = await chat.say("Never mind. What is 2 + 2?")
    assert "2 + 2 = 4" in turn.answer and not turn.interrupts
    assert await stored(chat) is None


async def test_a_refund_is_understood_over_several_turns(chat):
    assert "Which order" in (await chat.say("I want a refund")).answer
    assert (await chat.say("4712")).interrupts[0].value["order"]["id"] == "4712"
    both = await chat.say("I want a refund, and what is 2 + 2?", thread="4")
    assert "2 + 2 = 4" in both.answer and "Which order" in both.answer
    await chat.say("Where is order 4730?", thread="2")
    assert (await chat.say("Please refund it", thread="2")).interrupts[0].value["order"]["id"] == "4730"
    latest = await chat.say("请给我的最近一笔订单退款", thread="3")
    assert latest.interrupts[0].value["question"] == "是否为订单 4760 退款 155.50 EUR？"


async def test_answers_are_read_generously_and_never_guessed():
    assert [read_approval(answer) for answer in APPROVALS] == [Approval(True)] * len(APPROVALS)
    assert [read_approval(answer).approved for answer in REJECTIONS] == [False] * len(REJECTIONS)
    assert [float(read_approval(answer).amount) for answer in EDITS] == [5.5] * len(EDITS)
    assert [read_approval(answer) for answer in UNCLEAR] == [None] * len(UNCLEAR)


JSON = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
)


@given(JSON)
def test_no_answer_without_a_clear_word_is_an_approval(answer):
    assert (
        not (approval := read_approval(answer))
        or not approval.approved
        or any(
            word in json.dumps(answer, ensure_ascii=False).lower()
            for word in ("y", "ok", "approve", "可", "好", "是", "true")
        )
    )
