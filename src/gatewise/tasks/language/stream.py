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
from gatewise.tasks.language.export import from_zero
from gatewise.tasks.language.fitted import Fitted
from gatewise.tasks.language.outputs import sampled

WORDS = ("words", "whitespace")  # kinds of vocabularies in which the end of a line is a token


def plan(
    preparation: Preparation[Fitted], _experiment: Experiment, _state: Mapping[str, Any]
) -> Plan:
    """All tokens of a text so far, by the states of the network."""
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
        sayings=Symbols(vocabulary),
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
    changing: tuple[str, ...] = ()

    def begin(self) -> Notes:
        """Nothing: the states of the network hold all."""
        return {}

    def answers(
        self, _notes: Notes, before: Array, after: Array, rows: Sequence[Row]
    ) -> list[Answer]:
        """Each token, how surprising it was, and the likeliest one after it."""
        tokens = np.array([int(row.values[0]) for row in rows])
        nats = -log_softmax(before.astype(np.float64))[np.arange(len(rows)), tokens]
        after = after.astype(np.float64)
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

    def distribution(self, logits: Array) -> dict[str, float]:
        """The probability of each symbol that may come next, the likeliest first."""
        logits = logits.astype(np.float64)
        logits[special_tokens(self.vocabulary)] = -np.inf
        chances = np.exp(log_softmax(logits))
        found: dict[str, float] = {}
        for token in np.flatnonzero(chances):  # many bytes of byte pairs are shown as one symbol
            symbol = self._shown(int(token))
            found[symbol] = found.get(symbol, 0.0) + float(chances[token])
        return dict(sorted(found.items(), key=lambda one: -one[1]))

    def continued(
        self,
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
        )
        return decode_pieces(islice(tokens, length), self.vocabulary, begun=begun)

    def _shown(self, token: int) -> str:
        return "\n" if token == END else self.vocabulary.display(token)
