"""Join spoken digits at random into utterances of three to seven digits, with transcripts.

    python experiments/join_digits.py $GATEWISE_DATA/fsdd/recordings digit-strings --seed 0

Writes train.csv, validation.csv and test.csv (path, text, speaker) and the recordings that they
name into the second folder. An utterance has one speaker and pauses of up to a fifth of a second.
Test utterances contain only official test recordings (takes 0 to 4), validation utterances only
takes 5 to 9, and training utterances takes 10 to 49.
"""

import argparse
import csv
import wave
from collections import defaultdict
from pathlib import Path

import numpy as np

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PARTS = {"train": (range(10, 50), 2000), "validation": (range(5, 10), 200), "test": (range(5), 300)}
RATE = 8000
PAUSE = 0.2  # seconds, at most
FEWEST, MOST = 3, 7  # digits per utterance


def samples_of(path):
    """The samples of a recording, [samples] int16."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2), path
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def write(path, samples):
    """Write a recording of these samples."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())


def utterance(recordings, random):
    """Samples and words of a few recordings, one after the other."""
    pieces, words = [], []
    for k in random.integers(len(recordings), size=random.integers(FEWEST, MOST + 1)):
        pause = np.zeros(int(random.uniform(0, PAUSE) * RATE), np.int16)
        pieces += [pause, samples_of(recordings[k])]
        words.append(WORDS[int(recordings[k].name[0])])
    return np.concatenate(pieces), " ".join(words)


def main():
    """Write the three parts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recordings", type=Path, help="free-spoken-digit-dataset/recordings")
    parser.add_argument("folder", type=Path, help="where to write")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random = np.random.default_rng(given.seed)
    by_take = defaultdict(lambda: defaultdict(list))  # take -> speaker -> recordings
    for path in sorted(given.recordings.glob("*.wav")):
        _, speaker, take = path.stem.split("_")
        by_take[int(take)][speaker].append(path)
    for part, (takes, count) in PARTS.items():
        (given.folder / part).mkdir(parents=True, exist_ok=True)
        with (given.folder / f"{part}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["path", "text", "speaker"])
            for number in range(count):
                speaker = random.choice(sorted(by_take[takes[0]]))
                own = [path for take in takes for path in by_take[take][speaker]]
                samples, text = utterance(own, random)
                name = f"{part}/{number:04}.wav"
                write(given.folder / name, samples)
                rows.writerow([name, text, speaker])


if __name__ == "__main__":
    main()
