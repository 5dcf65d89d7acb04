"""Translate times of day into words, from two lists of texts."""

import random

import gatewise

hours = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
quarters = {"00": "{0} o'clock", "15": "quarter past {0}", "30": "half past {0}", "45": "{0} 45"}


def pair() -> tuple[str, str]:
    """A time in figures and in words."""
    hour, minutes = draw.randrange(len(hours)), draw.choice(list(quarters))
    before = draw.choice(["at", "from", "until"])
    words = quarters[minutes].format(hours[hour])
    return f"{before} {hour + 1}:{minutes}", f"{before} {words}"


draw = random.Random(0)
figures, words = zip(*(pair() for _ in range(600)), strict=True)
settings = {
    "preparation": {"tokenizer": "words"},
    "network": {"units": [64, 64]},
    "training": {"epochs": 8, "learning_rate": 0.003},
}
run = gatewise.train((list(figures), list(words)), task="translate", settings=settings)
print(run.metrics["verdict"]["sentence"])
print(gatewise.predict(run, ["from 3:15", "until 7:30"])["translation"].to_list())
