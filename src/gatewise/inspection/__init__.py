"""Look inside a trained LSTM: gates, memory, idle units, gradients, and what an answer rests on."""
