"""What the demonstration's models answer: the same text for the same messages. Pure.

The model `router-unreliable` fails in the middle of a stream.
"""

import hashlib
from typing import Any, Final

MODELS: Final = {"router-small": 32_768, "router-large": 200_000, "router-unreliable": 32_768}
"""Context windows in tokens, by model."""
EMBEDDING_MODEL: Final = "router-embedding"
UNRELIABLE: Final = "router-unreliable"
FAILS_AFTER: Final = 3
"""Words until `router-unreliable` fails."""
FAILURE: Final = "The server had an error while processing your request. Sorry about that!"
CREATED: Final = 1_771_900_000


def text_of(content: object) -> str:
    """The text of a message's content: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def answer(messages: list[dict[str, Any]], limit: int) -> tuple[list[str], int]:
    """The words of the answer, at most `limit`, and the number of words of the prompt."""
    prompt = " ".join(text_of(message.get("content")) for message in messages).split()
    last = text_of(messages[-1].get("content")).split()
    words = f"Your question has {len(last)} words: {' '.join(last[:40])}".split()
    return words[:limit], len(prompt)


def embedding(text: str, dimensions: int) -> list[float]:
    """A vector of length 1 that depends on the text alone."""
    values: list[float] = []
    counter = 0
    while len(values) < dimensions:
        digest = hashlib.sha256(f"{counter} {text}".encode()).digest()
        values += [byte / 127.5 - 1 for byte in digest]
        counter += 1
    length = sum(value * value for value in values[:dimensions]) ** 0.5
    return [value / length for value in values[:dimensions]]


def identifier(prefix: str, *parts: object) -> str:
    return prefix + hashlib.sha256(repr(parts).encode()).hexdigest()[:24]
