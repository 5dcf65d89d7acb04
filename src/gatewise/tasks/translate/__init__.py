"""translate: a text in another language, by an encoder, attention and a decoder."""
