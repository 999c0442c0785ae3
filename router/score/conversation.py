"""Extract the question from a chat's messages.

Promises: `read` never raises on anything that JSON can hold; it looks at text only, and is linear
in the length of the conversation.
Not covered: images and sound are counted, not understood; a system prompt is measured, not read,
because the same one stands above easy and hard questions alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Messages = Sequence[Mapping[str, object]]

# A follow-up such as "and in C++?" has no difficulty of its own: it is read below the turn that it
# continues. "Thanks!" after a proof is not one, and stays easy.
FOLLOW_UP = re.compile(
    r"\s*(?:and|but|now|also|then|why|again|continue|go on|how about|what about|what if|"
    r"are you sure|can you|could you|do (?:it|that)|make (?:it|that)|fix|try|explain|"
    r"还有|那么|为什么|继续|再|现在|然后|如果)",
    re.IGNORECASE,
)
FOLLOW_UP_CHARS = 80


@dataclass(frozen=True, slots=True)
class Conversation:
    """The text to judge and the size of what stands around it."""

    asked: str
    user_turns: int
    earlier_chars: int
    system_chars: int
    media_parts: int
    tool_messages: int


def read(messages: Messages) -> Conversation:
    """The conversation's question: its last user turn, below the one it follows up."""
    users: list[str] = []
    chars = {"system": 0, "other": 0}
    media_parts = tool_messages = 0
    for message in messages:
        role = message.get("role")
        text, media = _content(message.get("content"))
        media_parts += media
        tool_messages += role in ("tool", "function")
        if role == "user":
            users.append(text)
        else:
            chars["system" if role in ("system", "developer") else "other"] += len(text)
    return Conversation(
        asked=_asked(users),
        user_turns=len(users),
        earlier_chars=chars["other"] + sum(len(text) for text in users[:-1]),
        system_chars=chars["system"],
        media_parts=media_parts,
        tool_messages=tool_messages,
    )


def question(messages: Messages) -> str:
    """The text that is embedded for a conversation."""
    return read(messages).asked


def _asked(users: Sequence[str]) -> str:
    if not users:
        return ""
    last = users[-1]
    if len(users) > 1 and len(last) <= FOLLOW_UP_CHARS and FOLLOW_UP.match(last):
        return users[-2] + "\n" + last
    return last


def _content(content: object) -> tuple[str, int]:
    """The text of a message's content and the number of parts that are not text."""
    if isinstance(content, str):
        return content, 0
    if not isinstance(content, Sequence) or isinstance(content, bytes | bytearray):
        return "", 0
    texts: list[str] = []
    media = 0
    for part in content:
        text = part.get("text") if isinstance(part, Mapping) else part
        if isinstance(text, str):
            texts.append(text)
        else:
            media += 1
    return "\n".join(texts), media
