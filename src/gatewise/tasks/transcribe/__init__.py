"""transcribe: speech recognition by character, with CTC (Graves et al. 2006)."""
