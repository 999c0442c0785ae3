"""What is taken for the question."""

from hypothesis import given
from hypothesis import strategies as st

from router.score.conversation import question, read

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
messages = st.lists(
    st.dictionaries(st.sampled_from(["role", "content", "name"]), json_values, max_size=3),
    max_size=4,
)


def user(text: object) -> dict[str, object]:
    return {"role": "user", "content": text}


@given(messages)
def test_reading_never_raises_on_what_json_can_hold(drawn):
    assert isinstance(question(drawn), str)


def test_the_question_is_the_last_user_turn():
    turns = [user("Prove Fermat."), {"role": "assistant", "content": "QED"}, user("Thanks!")]
    assert question(turns) == "Thanks!"


def test_a_follow_up_is_read_below_the_turn_it_continues():
    turns = [user("Sort a list in C."), {"role": "assistant", "content": "…"}, user("and in Rust?")]
    assert question(turns) == "Sort a list in C.\nand in Rust?"


def test_text_parts_are_joined_and_other_parts_counted():
    parts = [{"type": "text", "text": "What is"}, {"type": "image_url"}, {"text": "this?"}]
    conversation = read([user(parts)])
    assert (conversation.asked, conversation.media_parts) == ("What is\nthis?", 1)


def test_what_stands_around_is_measured():
    conversation = read(
        [
            {"role": "system", "content": "Be brief."},
            user("One"),
            {"role": "assistant", "content": "Two"},
            {"role": "tool", "content": "3"},
            user("Four"),
        ]
    )
    assert conversation.system_chars == 9
    assert conversation.earlier_chars == len("One") + len("Two") + len("3")
    assert (conversation.user_turns, conversation.tool_messages) == (2, 1)
