"""The linear-chain CRF of `tag`: forbidden transitions, marginal probabilities and best paths.

Lafferty et al. 2001; on a bidirectional LSTM, Huang et al. 2015 and Lample et al. 2016. The score
of a path of tags is the sum of the logits of its tags and of the transitions between them. Its
probability is the softmax of the scores of all paths.

Transitions are an array [tags + 2, tags]. Row i scores each tag after tag i. The row before the
last scores each tag at the beginning of a sentence, the last row at its end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gatewise.data.sequences import Array
from gatewise.tasks.tag import spans

SOFTMAX, CRF = "softmax", "crf"  # the values of network.kind
BORDERS = 2  # rows of transitions besides those of the tags
FORBIDDEN = -1e4  # the score of a transition that must not occur; its exponential is exactly 0
IRREGULAR = 0.1  # the share of tags I and E without a beginning above which they need none
SMALLEST = 1e-300  # the argument of a logarithm, at least
CELLS = 2**22  # numbers in the largest array of a batch of sentences


@dataclass(frozen=True)
class Scores:
    """What the network says about the tokens of all sentences, sentence after sentence."""

    logits: Array  # [tokens, tags]
    transitions: Array | None  # [tags + 2, tags]; None: the tags of a sentence are independent

    def __len__(self) -> int:
        return len(self.logits)


def initial_transitions(classes: Sequence[str], codes: Array, lengths: Array) -> Array:
    """Transitions before training, [tags + 2, tags]: `FORBIDDEN` for those that break spans, or 0.

    A transition of the training part is not forbidden. If over a tenth of its tags I and E follow
    what they should not, spans are marked in another way (IOB1), and nothing is forbidden.

    Args:
        classes: the tags.
        codes: the class of each token of the training part, sentence after sentence, [tokens].
        lengths: the tokens of each sentence, [sentences].
    """
    size = len(classes)
    transitions = np.zeros((size + BORDERS, size), dtype=np.float32)
    if not spans.mark_spans(classes):
        return transitions
    ending = any(tag.startswith("E") for tag in classes)
    pairs = [[(before, tag) for tag in classes] for before in (*classes, "")]
    pairs.append([(tag, "") for tag in classes])
    broken = np.array(
        [[not spans.may_follow(*pair, ending=ending) for pair in row] for row in pairs]
    )
    last = np.cumsum(lengths) - 1
    first = last - lengths + 1
    before = np.roll(codes, 1)
    before[first] = size
    seen = np.zeros(transitions.shape, dtype=np.int64)
    np.add.at(seen, (before, codes), 1)
    np.add.at(seen[size + 1], codes[last], 1)
    continued = [tag[0] in spans.CONTINUES for tag in classes]
    if seen[:-1][broken[:-1]].sum() <= IRREGULAR * seen[:-1, continued].sum():
        transitions[broken & (seen == 0)] = FORBIDDEN
    return transitions


def marginals(logits: Array, transitions: Array) -> Array:
    """The probability of each tag of each token, over all paths: [sentences, length, tags].

    Args:
        logits: [sentences, length, tags], without padding.
        transitions: [tags + 2, tags].
    """
    length, size = logits.shape[1:]
    from scipy.special import logsumexp

    forwards, backwards = np.empty_like(logits), np.empty_like(logits)
    between = np.exp(transitions[:size])
    forwards[:, 0] = transitions[size] + logits[:, 0]
    for t in range(1, length):
        forwards[:, t] = _summed(forwards[:, t - 1], between) + logits[:, t]
    backwards[:, -1] = transitions[size + 1]
    for t in range(length - 2, -1, -1):
        backwards[:, t] = _summed(backwards[:, t + 1] + logits[:, t + 1], between.T)
    both = forwards + backwards
    probabilities: Array = np.exp(both - logsumexp(both, axis=-1, keepdims=True))
    return probabilities


def _summed(scores: Array, between: Array) -> Array:
    """log(exp(scores) @ between), for scores of any size: [sentences, tags]."""
    top = scores.max(axis=1, keepdims=True)
    summed: Array = np.log(np.maximum(np.exp(scores - top) @ between, SMALLEST)) + top
    return summed


def best_paths(logits: Array, transitions: Array) -> Array:
    """The path with the highest score (Viterbi 1967), as classes [sentences, length]."""
    count, length, size = logits.shape
    came_from = np.zeros((length, count, size), dtype=np.int32)
    scores = transitions[size] + logits[:, 0]
    for t in range(1, length):
        candidates = scores[:, :, None] + transitions[:size]  # [sentences, before, tags]
        came_from[t] = candidates.argmax(axis=1)
        scores = candidates.max(axis=1) + logits[:, t]
    paths = np.empty((count, length), dtype=np.int64)
    paths[:, -1] = (scores + transitions[size + 1]).argmax(axis=1)
    for t in range(length - 1, 0, -1):
        paths[:, t - 1] = came_from[t][np.arange(count), paths[:, t]]
    return paths


def by_sentence(function: Callable[[Array, Array], Array], scores: Scores, lengths: Array) -> Array:
    """Apply `marginals` or `best_paths` to sentences of these lengths: [tokens, ...] in float64."""
    assert scores.transitions is not None
    logits, transitions = (one.astype(np.float64) for one in (scores.logits, scores.transitions))
    starts = np.cumsum(lengths) - lengths
    most = max(1, CELLS // transitions.size)
    results: list[tuple[Array, Array]] = []
    for length in np.unique(lengths):
        equal = np.flatnonzero(lengths == length)
        for begin in range(0, len(equal), most):
            rows = starts[equal[begin : begin + most], None] + np.arange(length)
            results.append((rows, function(logits[rows], transitions)))
    flat: Array = np.empty((len(logits), *results[0][1].shape[2:]), results[0][1].dtype)
    for rows, result in results:
        flat[rows] = result
    return flat
