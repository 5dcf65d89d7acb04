"""The report on a run: one self-contained HTML file.

`report.py` draws it. Each task has a module with its own sections. That module imports the shared
blocks of `sections.py`, `charts.py` and `formats.py`, and never `report.py`.
"""
