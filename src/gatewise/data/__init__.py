"""What is known of sequences: their parts, windows, scales, vocabularies and batches."""
