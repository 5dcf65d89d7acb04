"""The outputs of the network of `detect`: one row for each step."""

from gatewise.runtime.predicting import plain_outputs

__all__ = ["predict"]

predict = plain_outputs
