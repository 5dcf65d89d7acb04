"""The cross entropy of the next token over a large vocabulary, in full or sampled."""

import math
from typing import Any

import keras
from keras import layers, ops

HEAD = 8.0  # the most frequent tokens, which are sampled almost uniformly
NEG_INF = -1.0e9  # a finite stand-in for log 0


def nats_of(truth: Any, logits: Any) -> Any:
    """-log P of each token, [..., steps], from logits [..., steps, vocabulary].

    With a sampled softmax the network itself returns the nats.
    """
    if len(logits.shape) == len(truth.shape):
        return logits
    hot = ops.one_hot(ops.cast(truth, "int32"), logits.shape[-1], dtype=logits.dtype)
    return ops.logsumexp(logits, axis=-1) - ops.sum(hot * logits, axis=-1)


class SampledSoftmax(layers.Layer):  # type: ignore[misc]  # Keras is untyped
    """Cross entropy of the next token: a sampled softmax in training, the full one otherwise.

    In training, `count` negative samples, shared by the whole batch, estimate the denominator of
    the softmax. Each is weighted by the inverse of its expected count (importance sampling: Bengio
    & Senécal 2003; Jean et al. 2015). The true token is always included, so that the estimate of
    the denominator is unbiased. The full softmax is computed one stream at a time.
    """

    def __init__(self, embedding: Any, bias: Any, count: int, **options: Any) -> None:
        super().__init__(**options)
        self.embedding, self.bias, self.count = embedding, bias, count
        self.sampling = keras.random.SeedGenerator()

    def build(self, *_shapes: Any) -> None:
        """Build the bias; the embedding is built already."""
        self.bias.build()

    def call(self, x: Any, truth: Any, training: bool = False) -> Any:
        """Outputs [streams, steps, size] and tokens [streams, steps] -> nats [streams, steps]."""
        if not training:
            return ops.map(lambda row: nats_of(row[1], self._logits(row[0])), (x, truth))
        samples, frequency = self._samples()
        scores = x @ ops.transpose(self._vectors(samples)) + self._biases(samples)
        scores = scores - ops.log(frequency)
        scores = ops.where(samples == ops.expand_dims(truth, -1), NEG_INF, scores)
        true = ops.sum(x * self._vectors(truth), axis=-1) + self._biases(truth)
        return ops.logaddexp(true, ops.logsumexp(scores, axis=-1)) - true

    def _samples(self) -> tuple[Any, Any]:
        """Negative samples by Zipf's law, and the expected count of each, [count] both.

        The vocabulary is sorted by frequency, most frequent first. HEAD flattens the distribution
        at its steepest part, so that the samples are not all the same few tokens.
        """
        size = self.embedding.input_dim
        width = math.log((size + HEAD) / HEAD)
        uniform = keras.random.uniform((self.count,), seed=self.sampling)
        samples = ops.cast(HEAD * ops.exp(uniform * width) - HEAD, "int32")
        samples = ops.clip(samples, 0, size - 1)
        rank = ops.cast(samples, "float32")
        return samples, self.count / width * ops.log1p(1 / (rank + HEAD))

    def _logits(self, x: Any) -> Any:
        return self.embedding(x, reverse=True) + self.bias.embeddings[0]

    def _vectors(self, tokens: Any) -> Any:
        embedding = self.embedding
        if embedding.tie_weights:
            return ops.take(embedding.embeddings, tokens, axis=0)
        return ops.take(ops.transpose(embedding.reverse_embeddings), tokens, axis=0)

    def _biases(self, tokens: Any) -> Any:
        return ops.take(self.bias.embeddings[0], tokens, axis=0)
