"""The bodies and events of OpenAI's Responses API (platform.openai.com/docs/api-reference/responses). Pure."""

from collections.abc import Iterator
from typing import Any

from routing.demo.completions import CREATED, FAILURE, identifier

Body = dict[str, Any]


def messages_of(given: Body) -> list[Body]:
    """`instructions` and `input` as messages; empty if the input is neither a text nor a list of messages."""
    asked = given.get("input")
    items = [{"role": "user", "content": asked}] if isinstance(asked, str) and asked else asked
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        return []
    instructions = given.get("instructions")
    return [*([{"role": "system", "content": instructions}] if instructions else []), *items]


def response(model: str, messages: list[Body], words: list[str], asked: int) -> Body:
    """A response that is complete. `asked` is the number of words of the prompt."""
    usage = {
        "input_tokens": asked,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": len(words),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": asked + len(words),
    }
    key = identifier("", model, messages)
    return {
        "id": f"resp_{key}",
        "object": "response",
        "created_at": CREATED,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": [_message(f"msg_{key}", "completed", [_text(" ".join(words))])],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage,
    }


def events(whole: Body, words: list[str], fails_after: int | None = None) -> Iterator[Body]:
    """The events of a stream of `whole`, one of them for each word, or an error after `fails_after` words."""
    item = whole["output"][0]
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    begin: list[Body] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": _message(item["id"], "in_progress", [])},
        {"type": "response.content_part.added", **place, "part": _text("")},
    ]
    deltas: list[Body] = [
        {"type": "response.output_text.delta", **place, "delta": word if number == 0 else f" {word}", "logprobs": []}
        for number, word in enumerate(words[:fails_after])
    ]
    end: list[Body] = [
        {"type": "response.output_text.done", **place, "text": item["content"][0]["text"], "logprobs": []},
        {"type": "response.content_part.done", **place, "part": item["content"][0]},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    if fails_after is not None:
        end = [{"type": "error", "code": "server_error", "message": FAILURE, "param": None}]
    for number, part in enumerate([*begin, *deltas, *end]):
        yield {**part, "sequence_number": number}


def _message(key: str, status: str, content: list[Body]) -> Body:
    return {"id": key, "type": "message", "status": status, "role": "assistant", "content": content}


def _text(text: str) -> Body:
    return {"type": "output_text", "text": text, "annotations": []}
