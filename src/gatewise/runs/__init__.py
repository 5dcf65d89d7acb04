"""The run folder: written whole, checked when it is read, and compared with others."""
