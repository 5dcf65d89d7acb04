"""Gaussian noise on gradients, for any optimizer of Keras."""

from typing import Any

import keras
from keras import ops

DECAY = 0.55  # gamma of Neelakantan et al. (2015)


def noisy(kind: Any, variance: float, seed: int, frozen: Any = None) -> Any:
    """This class of optimizer, but with annealed noise on the gradients.

    Step t adds independent draws from N(0, variance / (1 + t) ** 0.55) after clipping (Neelakantan
    et al. 2015, arXiv:1511.06807, equation 1). `frozen(optimizer, variable)` is 0 where a variable
    must not move, else 1.
    """

    class Noisy(kind):  # type: ignore[misc]  # Keras is untyped
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.noise = keras.random.SeedGenerator(seed)
            # So that its state is a variable of the optimizer, which steps and checkpoints keep.
            self._track_variable(self.noise.state)

        def _backend_update_step(self, grads: Any, trainable_variables: Any, rate: Any) -> Any:
            step = ops.cast(self.iterations, "float32")
            deviation = ops.sqrt(variance / (1.0 + step) ** DECAY)
            changed = []
            for grad, variable in zip(grads, trainable_variables, strict=True):
                grad = ops.convert_to_tensor(grad)  # TensorFlow has sparse ones for embeddings
                drawn = keras.random.normal(grad.shape, dtype=grad.dtype, seed=self.noise)
                moving = 1.0 if frozen is None else frozen(self, variable)
                changed.append(grad + ops.cast(deviation * moving, grad.dtype) * drawn)
            return super()._backend_update_step(changed, trainable_variables, rate)

    return Noisy
