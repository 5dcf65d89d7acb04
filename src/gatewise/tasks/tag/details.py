"""Tokens with their true and predicted tags, for scores and for the report.

An array over tokens holds the tokens of all sentences, sentence after sentence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewise import metrics
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array, Sequences
from gatewise.readers.conll import TAG, TOKEN, tokens_of
from gatewise.settings import Experiment
from gatewise.tasks import suspects
from gatewise.tasks.tag import spans
from gatewise.tasks.tag.fitted import Fitted
from gatewise.tasks.task import NETWORK

LENGTHS = (1, 6, 11, 21, 41)  # lower bounds of the sentence lengths in the report, in tokens
MIN_PROBABILITY = 1e-6  # smaller probabilities count as this one


@dataclass(frozen=True)
class Tagged:
    """The predictions for the tokens of all sentences."""

    probabilities: Array  # [tokens, tags]
    chosen: Array  # [tokens] int, the predicted class

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def confidence(self) -> Array:
        """The probability of the predicted tag, [tokens]."""
        confidence: Array = self.probabilities[np.arange(len(self)), self.chosen]
        return confidence


def tags_of(sequences: Sequences, preparation: Preparation[Fitted]) -> Array:
    """The class of every token in the values, [all steps]; unknown tags get `len(classes)`."""
    known = {tag: place for place, tag in enumerate(preparation.own.classes)}
    of_level = np.array([known.get(tag, len(known)) for tag in sequences.levels[TAG]])
    classes: Array = of_level[sequences.values[:, sequences.columns.index(TAG)]]
    return classes


def sentences_of(examples: Examples[Sequences]) -> Sequences:
    """The sentences of the file, with the pieces of long sentences joined."""
    pieces = examples.source
    first = np.flatnonzero(np.diff(pieces.first, prepend=-1))
    last = np.append(first[1:], len(pieces)) - 1
    return pieces.chosen(first).between(pieces.starts[first], pieces.stops[last])


def truth_of(sequences: Sequences) -> list[list[str]]:
    """The true tags of each sentence."""
    return [tokens_of(sequences, TAG, k) for k in range(len(sequences))]


def flat(sequences: Sequences, values: Array) -> Array:
    """The entries of an array [all steps] for these sentences, sentence after sentence."""
    return np.concatenate(
        [values[a:b] for a, b in zip(sequences.starts, sequences.stops, strict=True)]
    )


def actual_of(examples: Examples[Sequences], preparation: Preparation[Fitted]) -> Array:
    """The true class of each token, [tokens]; tags unknown in training get `len(classes)`."""
    sentences = sentences_of(examples)
    return flat(sentences, tags_of(sentences, preparation))


def by_sentence(sequences: Sequences, array: Any) -> list[list[Any]]:
    """Split an array [tokens] into one list for each sentence."""
    ends = np.cumsum(sequences.lengths)
    listed = array.tolist()
    return [listed[b - n : b] for b, n in zip(ends, sequences.lengths, strict=True)]


def predicted_tags(
    predictions: Tagged, examples: Examples[Sequences], preparation: Preparation[Fitted]
) -> list[list[str]]:
    """The predicted tags of each sentence."""
    return by_sentence(
        sentences_of(examples), np.array(preparation.own.classes)[predictions.chosen]
    )


def new_words(examples: Examples[Sequences], preparation: Preparation[Fitted]) -> Array:
    """Whether a token does not occur in training in this spelling, [tokens] bool."""
    sentences, known = sentences_of(examples), set(preparation.own.tokens)
    of_level = np.array([token not in known for token in sentences.levels[TOKEN]])
    return flat(sentences, of_level[sentences.values[:, 0]])


def details(
    by_model: dict[str, Tagged],
    examples: Examples[Sequences],
    preparation: Preparation[Fitted],
    experiment: Experiment,
) -> dict[str, Any]:
    """Confusion matrix, scores by tag and by span, new words, lengths and the worst sentences."""
    predictions, classes = by_model[NETWORK], list(preparation.own.classes)
    actual, chosen = actual_of(examples, preparation), predictions.chosen
    known = actual < len(classes)
    matrix = metrics.confusion(actual[known], chosen[known], len(classes))
    counts = metrics.counts_by_class(matrix)
    met = np.flatnonzero(counts[1] + counts[2])  # tags that occur or are predicted
    sections: dict[str, Any] = {
        "classes": classes,
        "confusion": matrix.tolist(),
        "by_class": metrics.by_class([classes[k] for k in met], *(one[met] for one in counts)),
        "seen": _by_seen(by_model, examples, preparation),
        "lengths": _by_length(by_model, examples, preparation),
        "temperature": preparation.own.temperature,
        "sentences": _worst(predictions, examples, preparation, experiment.report.examples),
        "suspects": _suspects(predictions, actual, known, examples, classes),
    }
    if spans.mark_spans(classes):
        truth = truth_of(sentences_of(examples))
        sections["by_span"] = spans.by_type(
            truth, predicted_tags(predictions, examples, preparation)
        )
    return sections


def _suspects(
    predictions: Tagged,
    actual: Array,
    known: Array,
    examples: Examples[Sequences],
    classes: list[str],
) -> dict[str, Any]:
    """The tokens whose tags are probably wrong; tags that are unknown in training do not count."""
    sentences = sentences_of(examples)
    names = [
        f"{sentences.ids[k]}, token {place} ({token})"
        for k in range(len(sentences))
        for place, token in enumerate(tokens_of(sentences, TOKEN, k), 1)
    ]
    names = [name for name, one in zip(names, known.tolist(), strict=True) if one]
    labels, probabilities = actual[known], predictions.probabilities[known]
    found = suspects.suspects(labels, probabilities)
    return suspects.listed(found, labels, probabilities, names, classes)


def _by_seen(
    by_model: Mapping[str, Tagged], examples: Examples[Sequences], preparation: Preparation[Fitted]
) -> list[dict[str, Any]]:
    """Accuracy of each model on words that occur in training in this spelling, and on others."""
    actual, new = actual_of(examples, preparation), new_words(examples, preparation)
    rows = []
    for words, mask in (("seen", ~new), ("new", new)):
        accuracy = {
            name: float((predictions.chosen == actual)[mask].mean())
            for name, predictions in by_model.items()
            if mask.any()
        }
        rows.append({"words": words, "tokens": int(mask.sum()), "accuracy": accuracy})
    return rows


def _by_length(
    by_model: Mapping[str, Tagged], examples: Examples[Sequences], preparation: Preparation[Fitted]
) -> list[dict[str, Any]]:
    """Share of wrong tokens by the length of the sentence."""
    actual, lengths = actual_of(examples, preparation), sentences_of(examples).lengths
    bins = np.searchsorted(LENGTHS, lengths, side="right") - 1
    rows = []
    for k, least in enumerate(LENGTHS):
        tokens = np.repeat(bins == k, lengths)
        if tokens.any():
            wrong = {
                name: float((predictions.chosen != actual)[tokens].mean())
                for name, predictions in by_model.items()
            }
            most = LENGTHS[k + 1] - 1 if k + 1 < len(LENGTHS) else None
            count = int((bins == k).sum())
            rows.append({"from": least, "to": most, "sentences": count, "wrong": wrong})
    return rows


def _worst(
    predictions: Tagged,
    examples: Examples[Sequences],
    preparation: Preparation[Fitted],
    count: int,
) -> list[dict[str, Any]]:
    """The sentences with mistakes whose true tags the network finds least probable."""
    sentences, actual = sentences_of(examples), actual_of(examples, preparation)
    probabilities = predictions.probabilities
    probability = np.where(
        actual < probabilities.shape[1],
        probabilities[
            np.arange(len(probabilities)), np.minimum(actual, probabilities.shape[1] - 1)
        ],
        0.0,
    )
    wrong = predictions.chosen != actual
    nll = np.where(wrong, -np.log(np.maximum(probability, MIN_PROBABILITY)), 0.0)
    whole = np.add.reduceat(nll, np.cumsum(sentences.lengths) - sentences.lengths)
    worst = [k for k in np.argsort(-whole, kind="stable")[:count] if whole[k] > 0]
    predicted = predicted_tags(predictions, examples, preparation)
    confidence = by_sentence(sentences, predictions.confidence)
    return [
        {
            "id": str(sentences.ids[k]),
            "tokens": tokens_of(sentences, TOKEN, k),
            "truth": tokens_of(sentences, TAG, k),
            "answer": predicted[k],
            "probability": confidence[k],
        }
        for k in worst
    ]
