"""Find cities in flight requests, from lists of tokens and tags."""

import random

import gatewise

cities = ["Boston", "Denver", "San Jose", "Oslo", "New York", "Lima"]
draw = random.Random(0)


def request() -> list[tuple[str, str]]:
    """Tokens of a random request, each with its tag."""
    said = [(word, "O") for word in draw.choice(["a flight", "show me flights", "fly"]).split()]
    for before, kind in draw.sample([("from", "origin"), ("to", "goal")], k=draw.randint(1, 2)):
        first, *rest = draw.choice(cities).split()
        said += [(before, "O"), (first, f"B-{kind}"), *((word, f"I-{kind}") for word in rest)]
    return said


pairs = [list(zip(*request(), strict=True)) for _ in range(300)]
sentences, tags = ([list(pair[k]) for pair in pairs] for k in (0, 1))

settings = {"training": {"epochs": 6, "learning_rate": 0.01}, "network": {"units": [16]}}
run = gatewise.train((sentences, tags), task="tag", settings=settings)
print(run.metrics["verdict"]["sentence"])
print(gatewise.predict(run, ["fly to New York from Lima"]))
