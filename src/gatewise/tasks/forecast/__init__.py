"""forecast: the next values of one or many series."""
