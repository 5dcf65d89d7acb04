"""transcribe: what is said in a recording, character by character (CTC, Graves et al. 2006)."""
