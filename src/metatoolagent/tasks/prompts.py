"""The prompt, as token ids: a prefix for a candidate set, a segment for a question, an answer for a name.

A model that answers at once reads lines of one form: each tool is `description (parameters) -> name`, and the question is a
line that the model ends: `question ->`. So the tools are demonstrations of what is asked for, which a pretrained model goes on
with by itself (docs/decisions/0020-lines-of-one-form.md). Methods that reason first, or that score questions, have the
turns of the backbone's chat template.

Text of the template and text of the data are tokenized apart, and the data's text with special tokens split, so
that no documentation or question can end its turn or open another one. A newline in a description could forge an
entry of the list, so runs of white space become one space.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from metatoolagent.catalog.parameters import described
from metatoolagent.errors import Exit, UserError, shown

INSTRUCTION = "Choose the one tool that answers the request. Reply with its name only.\n\nTools:\n"
SENTINELS = ("\ue000", "\ue001", "\ue002")
"""Private characters that stand for the system, user and assistant texts while the template is read."""


ARROW = "->"
"""Parts what is asked for from the name."""
SAMPLE = {
    "name": "find_ship",
    "description": "Finds a ship.",
    "parameters": '{"properties": {"port": {}, "day": {}}, "required": ["day"]}',
}
"""A tool whose prompt stands for the form of all prompts."""
FEW = 3
"""Spaces of a sentence, below which it is too short to stand for a question."""


@dataclass(frozen=True)
class Template:
    """The role markers of the model's own chat template, and its tokenizer."""

    tokenizer: Any
    before_tools: str
    before_question: str
    before_answer: str
    end: str

    def marker(self, text: str) -> list[int]:
        """Return the tokens of a piece of the template."""
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    @cached_property
    def forgeable(self) -> list[str]:
        """Return what parts the turns and is no special token, such as `[INST]`: as data it would be the same tokens."""
        added = self.tokenizer.added_tokens_decoder.values()
        special = "|".join(re.escape(token.content) for token in added if token.special)
        parts = (self.before_tools, self.before_question, self.before_answer, self.end)
        lines = [line.strip() for part in parts for text in re.split(special or "(?!)", part) for line in text.splitlines()]
        # A bare word, such as the name of a role, parts turns only beside a special token.
        return sorted({line for line in lines if re.search(r"[^\w\s]", line)})

    def content(self, text: str) -> list[int]:
        """Return the tokens of a piece of data; what looks like a special token is plain text."""
        return list(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids)

    @cached_property
    def beginning(self) -> list[int]:
        """Return the tokens that the tokenizer begins every text with: one or none."""
        return [token for token in self.tokenizer("").input_ids if token == self.tokenizer.bos_token_id][:1]

    @cached_property
    def newline(self) -> int:
        """Return the token that ends a line, and so an answer."""
        return self.content("\n")[-1]

    def lines(self, entries: Sequence[str]) -> list[int]:
        """Return the tokens of the part that depends on the candidate set alone: a line for each tool."""
        return self.content(listing(entries))

    def line(self, question: str) -> list[int]:
        """Return the tokens of a question, as a line that its tool's name would end.

        They are those that it has behind another line: some tokenizers begin a text with a space.
        """
        return self.content(f"\n{asking(question)}")[len(self.content("\n")) :]

    def answer(self, name: str) -> list[int]:
        """Return the tokens of an answer: the name, as it stands behind the arrow of its own line, and the end of the line."""
        return [*self.content(f"{ARROW} {name}")[len(self.content(ARROW)) :], self.newline]

    def tools_turn(self, entries: Sequence[str], instruction: str = INSTRUCTION) -> list[int]:
        """Return the tokens of the turn that lists the tools; it is ended by `question_turn`."""
        tools = self.content("".join(f"- {entry}\n" for entry in entries).rstrip("\n"))
        return [*self.marker(self.before_tools + instruction), *tools]

    def question_turn(self, question: str) -> list[int]:
        """Return the tokens from the end of the tool list to the start of the model's turn."""
        text = " ".join(question.split())
        return [*self.marker(self.before_question), *self.content(text), *self.marker(self.before_answer)]

    @cached_property
    def turn_ends(self) -> tuple[int, ...]:
        """Return the tokens that end a turn: that of the chat template, and the tokenizer's end of sequence."""
        eos = self.tokenizer.eos_token_id
        return tuple(dict.fromkeys([self.marker(self.end)[0], *([] if eos is None else [eos])]))

    @cached_property
    def line_ends(self) -> tuple[int, ...]:
        """Return the tokens that end a line: a newline, and what ends a turn, with which a model may end its answer as well."""
        return (self.newline, *self.turn_ends)

    def form(self, *, turns: bool) -> str:
        """Return a digest of the form of prompts: another one wherever a tool, a question or a name is rendered otherwise.

        Args:
            turns: whether the prompts are turns of the chat template, or lines.
        """
        tools, question = [entry(SAMPLE)], "Where is it?"
        asked = [self.tools_turn(tools), self.question_turn(question)] if turns else [self.lines(tools), self.line(question)]
        tokens = [self.beginning, *asked, [] if turns else self.answer(SAMPLE["name"])]
        return hashlib.sha256(json.dumps(tokens).encode()).hexdigest()


def read_template(tokenizer: Any) -> Template:
    """Read the role markers off the tokenizer's chat template.

    Where the template has no system role, the tool list opens the user's turn.

    Raises:
        UserError: E-TEMPLATE if the template drops or repeats a message, or ends an answer with no token.
    """
    tools, question, answer = SENTINELS
    with_system = [("system", tools), ("user", question), ("assistant", answer)]
    without = [("user", f"{tools}\n\n{question}"), ("assistant", answer)]
    for turns in (with_system, without):
        try:
            text = tokenizer.apply_chat_template([{"role": role, "content": said} for role, said in turns], tokenize=False)
        except Exception:
            continue
        if all(text.count(mark) == 1 for mark in SENTINELS) and text.index(tools) < text.index(question) < text.index(answer):
            before_tools, rest = text.split(tools)
            before_question, rest = rest.split(question)
            before_answer, after = rest.split(answer)
            return Template(tokenizer, before_tools, before_question, before_answer, _end_of_turn(tokenizer, after))
    raise _unusable(tokenizer, "the chat template does not keep each message once")


def _end_of_turn(tokenizer: Any, after: str) -> str:
    """Return the token that ends an answer, as text: it alone ends the generation.

    It is the special token that follows the answer, behind white space or not; where none does, the first token of what
    follows; and the end of sequence where nothing follows.

    Raises:
        UserError: E-TEMPLATE if it is not one token.
    """
    special = sorted((token.content for token in tokenizer.added_tokens_decoder.values() if token.special), key=len)
    marks = [mark for mark in special if after.lstrip().startswith(mark)]
    ids = tokenizer(after, add_special_tokens=False).input_ids
    if marks:
        end = str(marks[-1])
    else:
        end = str(tokenizer.decode(ids[:1]) if ids else tokenizer.eos_token or "")
    if len(tokenizer(end, add_special_tokens=False).input_ids) != 1:
        raise _unusable(tokenizer, "no token of the chat template ends an answer")
    return end


def _unusable(tokenizer: Any, what: str) -> UserError:
    where, fix = "the backbone's chat_template.jinja", "choose a model whose template has user and assistant turns"
    return UserError("E-TEMPLATE", what, where, shown(tokenizer.chat_template), fix, exit_code=Exit.ARTIFACT)


def listing(entries: Sequence[str]) -> str:
    """Return the text of a candidate set: a line for each tool."""
    return "".join(f"{entry}\n" for entry in entries)


def asking(question: str) -> str:
    """Return the text of a question, as a line that its tool's name would end."""
    return f"{' '.join(question.split())} {ARROW}"


def with_calls(question: str, called: Sequence[str]) -> str:
    """Return what is asked once some tools were called: the question, and behind it their names in order.

    The first step of a chain is the bare question, which is what training has; the names come as one short sentence more,
    in the place of the question.
    """
    return f"{question} Already called: {', '.join(called)}." if called else question


def leading_sentences(descriptions: Mapping[str, str]) -> dict[str, str]:
    """Return what stands for a question about each tool: the first sentence of its description, without its full stop.

    Where another tool's description begins with the same sentence ("Deprecated."), or the sentence has fewer than four words (or
    is no sentence: "e.g."), as many more follow as make it this tool's own, and at most all.

    Args:
        descriptions: of all tools, by name.
    """
    parted = {name: re.split(r"(?<=[.!?])\s|(?<=[。！？])", " ".join(text.split())) for name, text in descriptions.items()}
    begun = Counter(text for sentences in parted.values() for text in {*_beginnings(sentences)})
    own = {
        name: next((text for text in _beginnings(sentences) if begun[text] == 1 and text.count(" ") >= FEW), "")
        for name, sentences in parted.items()
    }
    return {name: (own[name] or " ".join(sentences).strip()).rstrip(".。") for name, sentences in parted.items()}


def _beginnings(sentences: Sequence[str]) -> Iterator[str]:
    """Yield the first sentence, the first two and so on."""
    return (" ".join(sentences[:count]).strip() for count in range(1, len(sentences) + 1))


def entry(tool: Mapping[str, str]) -> str:
    """Return a tool's line in the prompt: description, parameters (`?` marks optional ones) and, last, the name.

    A causal model reads from left to right, so a name that follows its description can carry what was said; with the name
    first, trained models chose worse by 18 points and more (docs/decisions/0006-name-after-description.md).

    Args:
        tool: a row of the catalog, with name, description and parameters (JSON Schema as text).
    """
    parameters = described(json.loads(tool["parameters"]))
    names = [" ".join(name.split()) + ("" if needed else "?") for name, (_, needed) in parameters.items()]
    return f"{' '.join(tool['description'].split())} ({', '.join(names)}) {ARROW} {tool['name']}"
