"""The outputs of the network of `classify`: one array for all examples."""

from gatewise.runtime.predicting import plain_outputs

__all__ = ["predict"]

predict = plain_outputs
