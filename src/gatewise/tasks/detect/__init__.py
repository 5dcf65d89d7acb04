"""detect: anomalies in series of numbers, by an LSTM that predicts each step from those before."""
