"""How `language` answers a stream: how likely each token was, and which one is likely next."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.tokenstream import (
    decode_pieces,
    lines_of,
    special_tokens,
    start_token,
    unknown_token,
)
from gatewise.data.vocabulary import END, UNKNOWN, Vocabulary
from gatewise.runtime.operations import log_softmax
from gatewise.settings import Experiment
from gatewise.streaming.plan import Answer, Notes, Plan, Row, Text
from gatewise.tasks.language.blend import MOST_ORDER, Mixture, mixture_of
from gatewise.tasks.language.export import from_zero
from gatewise.tasks.language.fitted import Fitted
from gatewise.tasks.language.outputs import sampled

WORDS = ("words", "whitespace")  # kinds of vocabularies in which the end of a line is a token


def plan(
    preparation: Preparation[Fitted], _experiment: Experiment, state: Mapping[str, Any]
) -> Plan:
    """All tokens of a text so far, by the states of the network and the last of them."""
    vocabulary = preparation.own.vocabulary
    return Plan(
        preparation=preparation,
        columns=("text",),
        text=Text(
            encode=lambda text: _encoded(text, vocabulary),
            characters=vocabulary.kind == "characters",
            lines=True,
            end="\n" if vocabulary.kind in WORDS else "",
        ),
        graph=from_zero,
        start={"tokens": np.array(start_token(vocabulary), np.int32)},
        sayings=Symbols(vocabulary, mixture_of(state, preparation)),
        windows=False,
    )


def _encoded(text: str, vocabulary: Vocabulary) -> tuple[Array, list[str]]:
    """The tokens of lines, and what was written of each."""
    tokens, written = [], []
    for line in lines_of(text):
        ids, parts = vocabulary.written(line)
        if line.endswith("\n") and vocabulary.kind in WORDS:
            ids = np.append(ids, END)
            parts = [*(part.rstrip("\n") for part in parts), "\n"]
        tokens.append(ids)
        written += parts
    joined = np.concatenate(tokens) if tokens else np.empty(0, np.int32)
    return np.where(joined == UNKNOWN, unknown_token(vocabulary), joined), written


@dataclass(frozen=True)
class Symbols:
    """Tells how likely tokens were and will be."""

    vocabulary: Vocabulary
    mixture: Mixture | None = None
    changing: tuple[str, ...] = ()

    def begin(self) -> Notes:
        """The last tokens, which n-grams read; the states of the network hold all else."""
        return {"text": ()}

    def answers(
        self, notes: Notes, before: Array, after: Array, rows: Sequence[Row]
    ) -> list[Answer]:
        """Each token, how surprising it was, and the likeliest one after it."""
        tokens = [int(row.values[0]) for row in rows]
        text = [*notes["text"], *tokens]
        notes["text"] = tuple(text[-MOST_ORDER:])
        ends = range(len(text) - len(rows), len(text))
        before = self._mixed(before, text, ends)
        nats = -log_softmax(before)[np.arange(len(rows)), tokens]
        after = self._mixed(after, text, [end + 1 for end in ends])
        after[:, special_tokens(self.vocabulary)] = -np.inf
        chances = np.exp(log_softmax(after))
        likeliest = chances.argmax(axis=1)
        return [
            {
                "token": row.text.strip() or row.text,
                "nats": float(nats[k]),
                "next": self._shown(int(likeliest[k])),
                "p(next)": float(chances[k, likeliest[k]]),
            }
            for k, row in enumerate(rows)
        ]

    def last(self, _notes: Notes) -> Answer:
        """Nothing: each token has its answer."""
        return {}

    def _mixed(self, logits: Array, text: Sequence[int], ends: Sequence[int]) -> Array:
        """Logits [ends, vocabulary] after these tokens, with the n-grams if they are blended."""
        logits = logits.astype(np.float64)
        if self.mixture is None:
            return logits
        texts = (text[max(0, end - MOST_ORDER) : end] for end in ends)
        return np.stack(list(map(self.mixture.logits, logits, texts)))

    def distribution(self, notes: Notes, logits: Array) -> dict[str, float]:
        """The probability of each symbol that may come next, the likeliest first."""
        text = notes["text"]
        logits = self._mixed(logits[None], text, [len(text)])[0]
        logits[special_tokens(self.vocabulary)] = -np.inf
        chances = np.exp(log_softmax(logits))
        found: dict[str, float] = {}
        for token in np.flatnonzero(chances):  # many bytes of byte pairs are shown as one symbol
            symbol = self._shown(int(token))
            found[symbol] = found.get(symbol, 0.0) + float(chances[token])
        return dict(sorted(found.items(), key=lambda one: -one[1]))

    def continued(
        self,
        notes: Notes,
        logits: Array,
        step: Callable[[int], Array],
        *,
        length: int,
        temperature: float,
        top_k: int,
        seed: int | None,
        begun: bool,
    ) -> Iterator[str]:
        """An iterator of `length` tokens of text; `step` returns the logits after one more."""
        tokens = sampled(
            logits,
            step,
            forbidden=special_tokens(self.vocabulary),
            temperature=temperature,
            top_k=top_k,
            random=np.random.default_rng(seed),
            text=list(notes["text"]),
            mixture=self.mixture,
        )
        return decode_pieces(islice(tokens, length), self.vocabulary, begun=begun)

    def _shown(self, token: int) -> str:
        return "\n" if token == END else self.vocabulary.display(token)
