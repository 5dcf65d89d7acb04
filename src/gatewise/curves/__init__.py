"""gatewise curve: validation scores by the amount of data, or by the learning rate."""
