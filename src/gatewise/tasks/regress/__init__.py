"""regress: a number, or several, for a sequence or for each of its steps, with quantiles."""
