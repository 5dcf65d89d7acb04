"""Judging: how a run is trained and scored, beside its baselines, and what the scores are worth."""
