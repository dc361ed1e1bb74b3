"""How each style writes a conversation, in plain Python and apart from its chat template: text and what it is."""

from __future__ import annotations

from collections.abc import Iterator

Segment = tuple[str, str]
"""Text and what it is: template, image, instruction or response."""


def turns(messages: list[dict[str, str]], image: str) -> Iterator[tuple[str, str, str]]:
    for message in messages:
        yield message["role"], message["content"], image if message["role"] == "user" else ""
        image = "" if message["role"] == "user" else image


def vicuna(
    messages: list[dict[str, str]], image: str, opening: str = "USER: ", closing: str = " ASSISTANT:"
) -> Iterator[Segment]:
    yield "<s>", "template"
    for role, content, shown in turns(messages, image):
        if role == "user":
            yield opening, "template"
            yield shown, "image"
            yield "\n" if shown else "", "template"
            yield content, "instruction"
            yield closing, "template"
        else:
            yield f" {content}</s>", "response"


def mistral(messages: list[dict[str, str]], image: str) -> Iterator[Segment]:
    return vicuna(messages, image, "[INST] ", " [/INST]")


def chatml(
    messages: list[dict[str, str]], image: str, before: str = "", after: str = "\n", end: str = "<|im_end|>"
) -> Iterator[Segment]:
    for role, content, shown in turns(messages, image):
        yield f"<|im_start|>{role}\n", "template"
        yield before if shown else "", "template"
        yield shown, "image"
        yield after if shown else "", "template"
        yield content, {"user": "instruction", "assistant": "response"}[role]
        yield end, "response" if role == "assistant" else "template"
        yield "\n", "template"


def qwen(messages: list[dict[str, str]], image: str) -> Iterator[Segment]:
    return chatml(messages, image, "<|vision_start|>", "<|vision_end|>")


def utterance(messages: list[dict[str, str]], image: str) -> Iterator[Segment]:
    yield "<|im_start|>", "template"
    for role, content, shown in turns(messages, image):
        if role == "user":
            yield "User:" if shown else "User: ", "template"
            yield shown, "image"
            yield content, "instruction"
            yield "<end_of_utterance>\n", "template"
        else:
            yield "Assistant:", "template"
            yield f" {content}<end_of_utterance>", "response"
            yield "\n", "template"


def gemma(messages: list[dict[str, str]], image: str) -> Iterator[Segment]:
    yield "<bos>", "template"
    for role, content, shown in turns(messages, image):
        yield f"<start_of_turn>{'model' if role == 'assistant' else role}\n", "template"
        yield shown, "image"
        yield content, {"user": "instruction", "assistant": "response"}[role]
        yield "<end_of_turn>", "response" if role == "assistant" else "template"
        yield "\n", "template"


def prefix(messages: list[dict[str, str]], image: str) -> Iterator[Segment]:
    yield image, "image"
    yield "<bos>", "template"
    for message in messages:
        if message["role"] == "user":
            yield message["content"], "instruction"
            yield "\n", "template"
        else:
            yield f"{message['content']}<eos>", "response"
    yield "\n", "template"


def question(messages: list[dict[str, str]], image: str) -> Iterator[Segment]:
    yield image, "image"
    yield from vicuna(messages, "", "Question: ", " Answer:")
