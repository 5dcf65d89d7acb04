"""Answer sequences while they arrive, one step or a few at a time, without Keras.

>>> import gatewise
>>> stream = gatewise.Stream("runs/pump")  # doctest: +SKIP
>>> stream.push({"flow": 3.1, "pressure": 0.2})  # doctest: +SKIP
>>> stream.read()  # doctest: +SKIP
[{'step': 1, 'label': 'fine', 'p(fine)': 0.97, 'p(worn)': 0.03}]
"""

from gatewise.streaming.stream import Stream, advance

__all__ = ["Stream", "advance"]
