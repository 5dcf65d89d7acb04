"""Training: the network made ready, the epochs, and the checkpoints from which a kill continues."""
