"""classify: a label for each sequence, with calibrated probabilities."""
