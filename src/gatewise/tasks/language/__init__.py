"""language: plain text -> the next symbol, and what a text costs in nats, token by token."""
