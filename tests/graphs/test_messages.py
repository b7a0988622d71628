"""Messages as the wire shows them."""

from functools import cached_property

from langchain_core.messages import HumanMessage

from threadmill.jsonable import plain


class Letter(HumanMessage):
    stamp: str | None = None

    @cached_property
    def words(self) -> int:
        return len(str(self.content).split())


def test_a_message_is_its_fields_and_what_was_added_to_it() -> None:
    letter = Letter(content="two words", id="1", mood="fine")
    assert letter.words == 2
    del letter.__dict__["name"]
    shown = plain([letter, letter])
    assert shown[0] == shown[1]
    assert list(shown[0]) == [
        *("content", "additional_kwargs", "response_metadata", "type", "name", "id", "stamp", "mood")
    ]
    assert (shown[0]["content"], shown[0]["name"], shown[0]["mood"]) == ("two words", None, "fine")
