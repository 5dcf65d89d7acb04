"""classify: a label for each sequence, with probabilities that mean what they say."""
