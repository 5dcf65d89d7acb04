"""The outputs of the network of `forecast`: one array for all examples."""

from gatewise.runtime.predicting import plain_outputs

__all__ = ["predict"]

predict = plain_outputs
