"""translate: machine translation with an encoder, attention and a decoder."""
