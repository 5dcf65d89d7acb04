"""gatewise tune: search settings on the validation part, within a budget."""
