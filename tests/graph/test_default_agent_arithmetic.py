import math
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.arithmetic import MAX_BITS, ArithmeticRefused, evaluate, written


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) × 3 ÷ 2", "4.5"),
        ("2 ^ 10", "1024"),
        ("0.1 + 0.2", "0.3"),
        ("-7 // 2 + 7 % 4", "-1"),
        ("round(2 / 3, 2) + max(1, 2)", "2.67"),
        ("sqrt(16) + abs(-3)", "7"),
        ("（1 + 2）× 3", "9"),
        ("2 ** 200", str(2**200)),
    ],
)
def test_arithmetic(expression, result):
    assert written(evaluate(expression)) == result


@pytest.mark.parametrize(
    "expression",
    [
        "", " ", "1 +", "1/0", "0 ** -1", "(-8) ** 0.5", "9 ** 9 ** 9", "2 ** 5000", "1e308 * 10", "10.0 ** 400",
        "__import__('os')", "().__class__", "open('x')", "[1] * 10", "'a' * 9", "True + 1", "1 if 1 else 2", "x", "1j",
        "lambda: 1", "round(10, -9999999999)", "round(1.5, 0.5)", "max()", "sqrt(-1)", "min(*[1])", "abs(x=1)",
        "1" * 201, "(" * 150 + "1" + ")" * 150, "1\x002", "1; 2", "a := 1", "1 < 2", "1 << 99", "~1", "sqrt",
    ],
)  # fmt: skip
def test_everything_else_is_refused(expression):
    with pytest.raises(ArithmeticRefused) as refusal:
        evaluate(expression)
    assert str(refusal.value)


@given(st.text(alphabet="0123456789+-*/%^().,e piabsqrtound×÷（）", max_size=60))
def test_any_text_gives_a_bounded_number_or_a_refusal(text):
    try:
        value = evaluate(text)
    except ArithmeticRefused:
        return
    assert math.isfinite(value) if isinstance(value, float) else value.bit_length() <= MAX_BITS


@given(st.integers(), st.sampled_from("+-*"), st.integers())
def test_whole_numbers_are_exact(left, sign, right):
    exact = {"+": operator.add, "-": operator.sub, "*": operator.mul}[sign](left, right)
    assert written(evaluate(f"({left}) {sign} ({right})")) == str(exact)
