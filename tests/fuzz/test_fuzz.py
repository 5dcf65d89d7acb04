"""No mutated file leads to anything but sequences or a sentence; `reading.py` tries more."""

import random
import struct
import zipfile

import pytest
from corpus import found, seeds
from mutations import mutated
from reading import faults

from gatewise.errors import DataError
from gatewise.settings import DataSettings
from gatewise.tasks import TASKS, read


@pytest.mark.parametrize("name", seeds())
def test_mutations_are_read_or_refused_in_a_sentence(name, tmp_path):
    source, path = random.Random(name), tmp_path / name
    for task in TASKS:
        path.write_bytes(mutated(seeds()[name], source))
        assert list(faults(path, [task])) == []


@pytest.mark.parametrize("name", found())
def test_what_once_was_a_traceback_is_read_or_refused_in_a_sentence(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(found()[name])
    assert list(faults(path, list(TASKS))) == []


def test_an_archive_of_zeros_is_refused_before_it_fills_the_memory(tmp_path):
    path = tmp_path / "zeros.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.csv", "w") as member,
    ):
        for _ in range(80):
            member.write(bytes(1 << 20))
    with pytest.raises(DataError, match="unpacks to more than 200 times its size"):
        read(DataSettings(), path, task="forecast")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("deep.json", b"[" * 100_000, "nested too deeply"),
        ("deep.jsonl", b'{"a":' * 50_000, "nested too deeply"),
        ("huge.idx3-ubyte", b"\0\0\x08\x03" + struct.pack(">III", 2**32 - 1, 2**29, 2), "cut off"),
    ],
)
def test_headers_that_lie_are_refused(name, content, said, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        read(DataSettings(), path, task="classify")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (-394, 60),  # a length in the footer, with which a thread of Polars panics
        (137, 0x39),  # the length of a run in a page, with which Polars aborts the process
    ],
)
def test_a_parquet_file_on_which_polars_stumbles_is_a_sentence(place, value, tmp_path, capfd):
    content = bytearray(seeds()["series.parquet"])
    content[place] = value
    path = tmp_path / "series.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read, because it is damaged"):
        read(DataSettings(), path, task="forecast")
    assert capfd.readouterr().err == ""
