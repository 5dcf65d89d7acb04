"""The command line: its verbs, what they print, and the process that they run in."""
