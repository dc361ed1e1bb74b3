"""Takes the thoughts out of a model's text: what stands between marks like <think> and </think>, or in another channel.

Chat templates write the opening mark into the prompt, so a text may hold the closing one alone: what stands before it are
thoughts too. A text that is cut while the model thinks has the opening one alone.
"""

from __future__ import annotations

import re

_NAMES = r"think|thinking|thoughts?|reasoning|scratchpad|seed:think"
_OPENING = re.compile(
    rf"<(?:{_NAMES})>|\[THINK\]|◁think▷|<\|begin_of_thought\|>|<\|START_THINKING\|>|<unused94>thought\n?|<thought\b[^>]*>",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    rf"</(?:{_NAMES})>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<\|END_THINKING\|>|<unused95>",
    re.IGNORECASE,
)
# Channels as gpt-oss writes them, and as servers leave them that have dropped the special tokens.
_CHANNEL = re.compile(r"<\|channel\|>\s{0,4}(\w{1,20})[^<]{0,200}(?:<\|constrain\|>[^<]{0,100})?<\|message\|>")
_CHANNEL_END = re.compile(r"<\|(?:end|return|call|start)\|>")
_BARE_CHANNEL = re.compile(r"\A\s*analysis(?=[A-Z\s])")
_BARE_FINAL = re.compile(r"assistant\s?final(?=[^a-z])")
_FRAME = re.compile(r"<\|(?:START_RESPONSE|END_RESPONSE|begin_of_solution|end_of_solution)\|>")
_LONGEST_MARK = 24
"""Characters of the longest mark, which a stream may bring in pieces."""


def strip_thoughts(text: str) -> str:
    r"""Remove the thoughts of a model from its text; "" where it holds nothing else.

    >>> strip_thoughts("<think>Not a cat.</think>\n\nA dog."), strip_thoughts("Not a cat.</think>A dog."), strip_thoughts("<think>A")
    ('A dog.', 'A dog.', '')
    >>> strip_thoughts("<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>A dog.")
    'A dog.'
    >>> strip_thoughts("A dog.")
    'A dog.'
    """
    if "<" not in text and "[" not in text and "◁" not in text and not _BARE_CHANNEL.match(text):
        return text
    if channels := list(_CHANNEL.finditer(text)):
        return _read_final_channel(text, channels)
    if _BARE_CHANNEL.match(text):
        finals = list(_BARE_FINAL.finditer(text))
        return text[finals[-1].end() :].strip() if finals else text
    closings = list(_CLOSING.finditer(text))
    rest = text[closings[-1].end() :] if closings else text
    if opening := _OPENING.search(rest):
        rest = rest[: opening.start()]
    if rest is text and "<|" not in text:
        return text
    return _FRAME.sub("", rest).strip()


def _read_final_channel(text: str, channels: list[re.Match[str]]) -> str:
    final = [channel for channel in channels if channel[1] == "final"]
    if not final:
        return text[: channels[0].start()].removesuffix("<|start|>assistant").strip()
    said = text[final[-1].end() :]
    end = _CHANNEL_END.search(said)
    return (said[: end.start()] if end else said).strip()


class ThoughtFilter:
    """Takes thoughts out of a stream of pieces.

    A closing mark without an opening one is not foreseen: what came before it has been given out. It is then given out as it
    is, so that whoever keeps the text so far can apply `strip_thoughts` to it. With `expects_thoughts` nothing is given out
    before a closing mark or the end.

    Attributes:
        found_bare_closing: Whether such a mark came: the model's next stream had better be filtered with `expects_thoughts`.
    """

    def __init__(self, *, expects_thoughts: bool = False) -> None:
        self.found_bare_closing = False
        self._pending = ""
        self._is_thinking = expects_thoughts
        self._expected = expects_thoughts

    def feed(self, piece: str) -> str:
        """Take the next piece and return what can be given out."""
        self._pending += piece
        given: list[str] = []
        while True:
            mark = (_END_OF_THOUGHT if self._is_thinking else _ANY_MARK).search(self._pending)
            if mark is None:
                break
            if not self._is_thinking:
                given.append(self._pending[: mark.start()])
            self._read_mark(mark, given)
            self._pending = self._pending[mark.end() :]
        if not self._is_thinking:
            ready = len(self._pending) - _unfinished_mark(self._pending)
            given.append(self._pending[:ready])
            self._pending = self._pending[ready:]
        else:
            self._drop_thoughts()
        return "".join(given)

    def _drop_thoughts(self) -> None:
        """Keep of the thoughts so far what may be the beginning of their end; all of them where they were only expected."""
        if not self._expected:
            self._pending = self._pending[-400:]

    def _read_mark(self, mark: re.Match[str], given: list[str]) -> None:
        opens = _OPENING.fullmatch(mark[0]) is not None
        channel = _CHANNEL.fullmatch(mark[0])
        if not self._is_thinking and not opens and channel is None and _CLOSING.fullmatch(mark[0]):
            self.found_bare_closing = True
            given.append(mark[0])
        self.found_bare_closing = self.found_bare_closing or (self._expected and not opens)
        self._is_thinking = opens or (channel is not None and channel[1] != "final")
        self._expected = False

    def finish(self) -> str:
        """Return what is left at the end of the stream."""
        # A model that was expected to think and did not has answered all the same.
        left = self._pending if not self._is_thinking or self._expected else ""
        self._pending = ""
        return left


_ANY_MARK = re.compile(
    f"{_OPENING.pattern}|{_CLOSING.pattern}|{_CHANNEL.pattern}|{_CHANNEL_END.pattern}(?:assistant)?|{_FRAME.pattern}",
    re.IGNORECASE,
)
_END_OF_THOUGHT = re.compile(f"{_CLOSING.pattern}|{_CHANNEL.pattern}", re.IGNORECASE)


def _unfinished_mark(text: str) -> int:
    """The length of the end of a text that may be the beginning of a mark."""
    start = text.rfind("<|channel|>", max(len(text) - 400, 0))
    if start < 0:
        start = max(text.rfind(mark, max(len(text) - _LONGEST_MARK, 0)) for mark in "<[◁")
    tail = text[start:] if start >= 0 else ""
    return len(tail) if re.match(r"</?[\w:]*\Z|<\|[^>]*\Z|<\|channel\|>|\[/?[A-Z]*\Z|◁", tail) else 0
