"""The mean of the network's probabilities and those of the n-grams (`task.blend`).

Networks know what n-grams cannot reach, and n-grams have seen rare strings that networks smooth
away, so their mean is better than each of them (Mikolov et al. 2011, "Empirical evaluation and
combination of advanced language modeling techniques").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gatewise.baselines import ngrams
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.tokenstream import TokenStream
from gatewise.runtime.operations import log_softmax
from gatewise.tasks.language.fitted import Fitted
from gatewise.tasks.task import NETWORK

ORDER = {"characters": 7, "bpe": 5, "words": 5, "whitespace": 5}  # of the n-grams
MOST_ORDER = max(ORDER.values())
SHARES = tuple(k / 20 for k in range(1, 20))  # of the n-grams in the mean


@dataclass(frozen=True)
class Mixture:
    """The n-grams that are blended in, and their share."""

    model: ngrams.KneserNey
    share: float

    def nll(self, network: Array, stream: TokenStream) -> Array:
        """-log P of each token, where `network` is that of the network, [tokens] nats."""
        texts = zip(stream.texts[:-1], stream.texts[1:], strict=True)
        counted = [self.model.token_nll(stream.tokens[begin:end]) for begin, end in texts]
        return mixed(network, np.concatenate(counted), self.share)

    def logits(self, logits: Array, before: Sequence[int]) -> Array:
        """The log of P of each token after those before it, where `logits` are the network's."""
        counted = np.log(self.model.following(np.array(before, np.int64)))
        return -mixed(-log_softmax(logits.astype(np.float64)), -counted, self.share)


def mixed(network: Array, counted: Array, share: float) -> Array:
    """-log of the mean of two probabilities, of their negative logarithms."""
    mean: Array = -np.logaddexp(np.log1p(-share) - network, np.log(share) - counted)
    return mean


def mixture_of(state: Mapping[str, Any], preparation: Preparation[Fitted]) -> Mixture | None:
    """The n-grams that a run blends in; None if it blends nothing."""
    own = preparation.own
    if own.blend != "ngrams":
        return None
    return Mixture(ngrams.of_state(state, len(own.vocabulary)), own.share)


def choose(
    preparation: Preparation[Fitted],
    network: Array,
    said: Mapping[str, Array],
    _examples: Any,
) -> Preparation[Fitted]:
    """Decide a blend that is "auto", and the share of the n-grams, by the mean nats a token.

    `network` and `said` are -log P of the same tokens, of the network and of the baselines.
    """
    own = preparation.own
    if own.blend == "none":
        return preparation
    counted = said[name_of(preparation)]
    losses = {share: float(mixed(network, counted, share).mean()) for share in SHARES}
    share = min(losses, key=losses.__getitem__)
    if own.blend == "auto" and losses[share] >= network.mean():
        return replace(preparation, own=replace(own, blend="none"))
    return replace(preparation, own=replace(own, blend="ngrams", share=share))


def name_of(preparation: Preparation[Fitted]) -> str:
    """The name of the n-grams in tables."""
    return f"{ORDER[preparation.own.vocabulary.kind]}-gram (Kneser-Ney)"


def model_name(preparation: Preparation[Fitted]) -> str:
    """The name of the network and, with a blend, of the n-grams."""
    blended = preparation.own.blend == "ngrams"
    return f"{NETWORK} with {name_of(preparation)}" if blended else NETWORK
