"""Examples as a data set of Keras."""

import functools
from typing import Any

import keras
import numpy as np

from gatewise.data.batches import Examples, plan
from gatewise.runtime.predicting import as_keras
from gatewise.settings import TrainingSettings
from gatewise.training.checkpoints import State

MOST_LOOKS = 64  # batches whose targets are looked at before training, on TensorFlow


class Feed(keras.utils.PyDataset):  # type: ignore[misc]  # Keras is untyped
    """Examples as a Keras data set; each batch is cut and padded on access."""

    def __init__(
        self,
        examples: Examples[Any],
        batch_size: int,
        *,
        padded: bool,
        random: np.random.Generator | None,
        steps: int = 0,
    ) -> None:
        super().__init__()
        self.examples = examples
        self.random = None if examples.ordered else random
        self.deal = functools.partial(
            plan, examples.lengths, batch_size, padded=padded, random=self.random, steps=steps
        )
        # The states of both generators before they drew for this epoch.
        self.before = self._generators()
        self.plan = self.deal()

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, b: int) -> tuple[Any, ...]:
        indices, length = self.plan[b]
        targets = self.examples.targets(indices, length)
        inputs = as_keras(self.examples.inputs(indices, length))
        if self.examples.weights is None:
            return inputs, targets
        return inputs, targets, self.examples.weights[indices].astype(np.float32)

    def on_epoch_end(self) -> None:
        """Draw the batches of the next epoch."""
        self.before = self._generators()
        self._draw()

    def _draw(self) -> None:
        if self.examples.on_epoch_end is not None:
            self.examples.on_epoch_end()
        if self.random is not None:
            self.plan = self.deal()

    def _generators(self) -> list[dict[str, Any] | None]:
        both = (self.random, self.examples.random)
        return [None if one is None else dict(one.bit_generator.state) for one in both]

    def state(self) -> State:
        """The generators before this epoch, from which its batches follow."""
        return State({"before": self.before}, {})

    def restore(self, state: State) -> None:
        """Draw an earlier epoch again."""
        self.before = state.plain["before"]
        for one, before in zip((self.random, self.examples.random), self.before, strict=True):
            if one is not None and before is not None:
                one.bit_generator.state = before
        self._draw()


def as_data(feed: Feed, *, shuffle: bool) -> Any:
    """What Keras reads the batches from.

    On TensorFlow, Keras assumes that all batches have the sizes of the first two, unless it knows
    which sizes change.
    """
    if keras.backend.backend() != "tensorflow":
        return feed
    from keras.src.trainers.data_adapters.data_adapter_utils import get_tensor_spec
    from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

    adapter = PyDatasetAdapter(feed, shuffle=shuffle)
    places = np.argsort(feed.plan.lengths, kind="stable").tolist()
    shortest, longest = feed[places[0]], feed[places[-1]]
    batches = [shortest, longest]
    for which, length in (feed.plan[b] for b in places[:: -(-len(places) // MOST_LOOKS)]):
        # The targets of a batch may have a length of their own.
        batches.append((shortest[0], feed.examples.targets(which, length), *shortest[2:]))
    adapter._output_signature = get_tensor_spec([adapter._standardize_batch(b) for b in batches])
    return adapter


def steps_of(train: Examples[Any], settings: TrainingSettings, *, padded: bool) -> int:
    """Optimizer steps per epoch."""
    size, most = settings.batch_size, settings.max_tokens
    return len(plan(train.lengths, size, padded=padded, steps=most))


def build_metrics(network: keras.Model, train: Examples[Any], *, padded: bool) -> None:
    """Make the variables of the loss and the metrics, as the first `fit` does otherwise.

    Keras draws a batch for it, after which the batches of that `fit` come in another order.
    """
    network._symbolic_build(data_batch=Feed(train, 2, padded=padded, random=None)[0])
