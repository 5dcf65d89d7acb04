"""language: a model of running text that predicts the next token."""
