"""Predict without Keras."""
