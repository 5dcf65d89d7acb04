"""Training: a network is made ready, fitted, and kept in checkpoints that survive a kill."""
