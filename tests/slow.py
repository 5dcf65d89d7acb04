"""Write slow.txt, the tests that `make quick` leaves out, from the times of a whole run.

pytest --junitxml=times.xml && python tests/slow.py times.xml

What the list holds and still exists stays, because a fixture counts for the test that needs it
first: without that test, the next one pays. To begin anew, empty the file.
"""

import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

SECONDS = 0.5  # of one test function, all its parameters together

if __name__ == "__main__":
    seconds: dict[str, float] = defaultdict(float)
    for case in ElementTree.parse(sys.argv[1]).iter("testcase"):
        file = case.get("classname", "").replace(".", "/") + ".py"
        seconds[f"{file}::{case.get('name', '').partition('[')[0]}"] += float(case.get("time", 0))
    path = Path(__file__).parent / "slow.txt"
    listed = seconds.keys() & path.read_text(encoding="utf-8").split()
    slow = sorted(listed | {name for name, time in seconds.items() if time > SECONDS})
    path.write_text("\n".join(slow) + "\n", encoding="utf-8")
