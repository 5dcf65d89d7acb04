"""The simplest answers, which a network has to beat."""
