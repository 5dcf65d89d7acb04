"""The scripts are run by the test, and are not modules of it."""

collect_ignore = ["binary.py", "one_after_another.py", "mnist_rows.py", "prediction.py", "offline"]
