"""tag: a label for each token of a sentence."""
