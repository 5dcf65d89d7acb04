"""Data sets as they are published: archives, lists in lines, recordings in folders, NumPy files."""

import json
import zipfile

import numpy as np
import pytest
from test_recordings import tone, write

from gatewise.data.sequences import texts_of
from gatewise.errors import ConfigError, DataError
from gatewise.readers import conll
from gatewise.settings import DataSettings
from gatewise.tasks import guess_task, read

TATOEBA = "Go {0}.\tVa {0} !\tCC-BY 2.0 (France) Attribution: tatoeba.org #{0} (CM)\n"


def guessed(path):
    """The task that is recognised, and what it reads."""
    task = guess_task(DataSettings(), path)[0]
    return task, *read(DataSettings(), path, task=task)


def test_pairs_of_tatoeba_lie_beside_a_text_about_them(tmp_path):
    path = tmp_path / "fra-eng.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("_about.txt", "This is from manythings.org\n")
        archive.writestr("fra.txt", "".join(TATOEBA.format(k) for k in range(30)))
    task, found, settings, _ = guessed(path)
    assert (task, len(found), settings.text) == ("translate", 30, ("source",))


def test_an_archive_of_recordings_is_no_text(tmp_path):
    write(tmp_path / "a_1.wav", tone())
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for name in ("a_1.wav", "a_2.wav", "b_1.wav", "b_2.wav"):
            archive.write(tmp_path / "a_1.wav", name)
    assert guessed(tmp_path / "data.zip")[0] == "classify"


@pytest.mark.parametrize("beside", [{}, {"id": "x"}, {"": 1}])
def test_ids_and_numbers_may_stand_beside_pairs(tmp_path, beside):
    path = tmp_path / "data.jsonl"
    rows = [
        {name or "Unnamed: 0": f"{one}{k}" if name else k for name, one in beside.items()}
        | {"translation": {"en": f"I see {k}", "fr": f"je vois {k}"}}
        for k in range(30)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    task, _, settings, _ = guessed(path)
    assert (task, settings.text, settings.label) == (
        "translate",
        ("translation.en",),
        "translation.fr",
    )


def test_a_json_file_may_hold_an_object_in_each_line(tmp_path):
    path = tmp_path / "data.json"
    rows = [{"text": f"I like this film {k}", "stars": k % 5} for k in range(40)]
    path.write_text("\n".join(map(json.dumps, rows)))
    task, found, settings, _ = guessed(path)
    assert (task, settings.label, len(found)) == ("classify", "stars", 40)
    path.write_text(json.dumps(rows[0]) + "\n{broken")
    with pytest.raises(DataError, match="line 2 is not a JSON object"):
        read(DataSettings(), path, task="classify")
    path.write_text('{"a": [1, 2],\n"b": [3, 4]}')
    assert read(DataSettings(target=("b",)), path, task="forecast")[0].values.tolist() == [[3], [4]]


def test_lists_of_tokens_and_tags_are_recognised(tmp_path):
    path = tmp_path / "data.jsonl"
    row = {"tokens": ["a", "rose"], "ner_tags": [0, 1], "langs": ["en", "en"]}
    path.write_text("\n".join([json.dumps(row)] * 20))
    task, found, settings, _ = guessed(path)
    assert (task, settings.label) == ("tag", "ner_tags")
    assert conll.tokens_of(found, conll.TAG, 0) == ["0", "1"]


WORDS, TAGS = ["the", "dog", "and/or", "ran", "1/2"], ["at", "nn", "cc", "vbd", "cd"]


@pytest.mark.parametrize("sign", "/_")
def test_tokens_may_be_joined_with_their_tags(tmp_path, sign):
    path = tmp_path / "brown.txt"
    lines = [" ".join(f"{w}{sign}{t}" for w, t in zip(WORDS, TAGS, strict=True))] * 40
    path.write_text("\n".join(lines))
    task, found, _, _ = guessed(path)
    assert (task, len(found)) == ("tag", 40)
    assert conll.tokens_of(found, conll.TOKEN, 7) == WORDS
    assert conll.tokens_of(found, conll.TAG, 7) == TAGS
    path.write_text("\n".join([*lines, "dog"]))
    with pytest.raises(DataError, match="line 41 holds 'dog' without a tag"):
        read(DataSettings(), path, task="tag")


def test_text_with_slashes_is_running_text(tmp_path):
    path = tmp_path / "data.txt"
    path.write_text("he and/or she went to a/b or home_again\nand slept\n" * 40)
    assert guess_task(DataSettings(), path)[0] == "language"


def test_noise_to_mix_in_is_no_class(tmp_path):
    for name in ("yes/1", "yes/2", "no/1", "no/2", "_background_noise_/white"):
        write(tmp_path / f"{name}.wav", tone())
    task, found, _, notes = guessed(tmp_path)
    assert (task, set(found.labels)) == ("classify", {"yes", "no"})
    assert any("_background_noise_ are left out" in note for note in notes)


def test_recordings_in_folders_are_found_by_their_names(tmp_path):
    names = [f"{k}-{k % 2}.wav" for k in range(4)]
    for k, name in enumerate(names):
        write(tmp_path / "audio" / f"fold{k % 2}" / name, tone())
    rows = [f"{name},{k % 2},{'ab'[k % 2]}" for k, name in enumerate(names)]
    for place in ("audio", "meta"):
        path = tmp_path / place / "data.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(["filename,fold,category", *rows]))
        if place == "audio":
            task, found, settings, notes = guessed(path)
            assert (task, settings.label, len(found)) == ("classify", "category", 4)
            assert any("searched by name" in note for note in notes)
    with pytest.raises(DataError, match="there is no recording '0-0.wav'"):
        read(DataSettings(), path, task="classify")  # two folders further
    for name in names:
        write(tmp_path / "clips of all" / name, tone())
    assert len(read(DataSettings(), path, task="classify")[0]) == 4
    write(tmp_path / "other" / names[0], tone())
    with pytest.raises(DataError, match="there is no recording '0-0.wav'"):
        read(DataSettings(), path, task="classify")  # two have its name


def test_transcripts_may_lie_in_a_folder_of_their_own(tmp_path):
    for k in range(3):
        write(tmp_path / "wav48" / "p1" / f"p1_{k}.wav", tone())
        (tmp_path / "txt" / "p1").mkdir(parents=True, exist_ok=True)
        (tmp_path / "txt" / "p1" / f"p1_{k}.txt").write_text(f"please call {k}\n")
    task, found, _, _ = guessed(tmp_path)
    assert (task, found.labels.tolist()) == ("transcribe", [f"please call {k}" for k in range(3)])


def test_data_sets_of_keras_hold_their_test_part(tmp_path):
    path = tmp_path / "mnist.npz"
    x = np.arange(60).reshape(10, 3, 2) / 7
    y = np.arange(10) % 2
    np.savez(path, x_train=x[:7], y_train=y[:7], x_test=x[7:], y_test=y[7:])
    task, found, settings, _ = guessed(path)
    assert (task, len(found), settings.test) == ("classify", 7, f"{path}#test")
    test = read(DataSettings(), settings.test, task="classify")[0]
    assert test.values.tolist() == x[7:].reshape(-1, 2).tolist()
    assert test.labels.tolist() == ["1", "0", "1"]
    with pytest.raises(DataError, match="must hold an array 'x'"):
        read(DataSettings(), f"{path}#other", task="classify")


def test_one_array_of_numpy(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.arange(24).reshape(4, 3, 2))
    found = read(DataSettings(), path, task="detect")[0]
    assert (len(found), found.values.shape) == (4, (12, 2))
    for content in (b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff" + b" " * 90):
        path.write_bytes(content)
        with pytest.raises(DataError, match="is not an .npy file"):
            read(DataSettings(), path, task="detect")
    np.save(path, np.array(["a", "b"]))
    with pytest.raises(DataError, match="must hold numbers"):
        read(DataSettings(), path, task="detect")


def test_a_table_as_running_text_is_stated(tmp_path):
    path = tmp_path / "lyrics.csv"
    path.write_text("artist,text\n" + "ABBA,Look at her face\n" * 40)
    notes = read(DataSettings(), path, task="language")[2]
    assert any("all columns" in note for note in notes)
    with pytest.raises(ConfigError):
        guess_task(DataSettings(), path)
    assert texts_of(read(DataSettings(), path, task="language")[0])[0].startswith("artist,text")


def test_each_file_of_a_folder_may_be_a_class(tmp_path):
    for name in ("Czech", "German"):
        (tmp_path / f"{name}.txt").write_text("\n".join(f"{name}ova{k}" for k in range(9)) + "\n\n")
    found, _, notes = read(DataSettings(), tmp_path, task="classify")
    assert found.labels.tolist() == ["Czech"] * 9 + ["German"] * 9
    assert texts_of(found)[10] == "Germanova1"
    assert any("name of its file" in note for note in notes)
    assert len(read(DataSettings(), tmp_path, task="language")[0]) == 2


def test_a_range_query_of_prometheus_is_a_series_for_each_metric(tmp_path):
    begin, path = 1_700_000_000, tmp_path / "query.json"
    series = [
        {"metric": {"job": job}, "values": [[begin + 60 * k, f"{k % 5}.5"] for k in range(40)]}
        for job in ("web", "db")
    ]
    series[1]["values"][3][1] = "NaN"
    answer = {"status": "success", "data": {"resultType": "matrix", "result": series}}
    path.write_text(json.dumps(answer))
    with pytest.raises(DataError, match="1 empty cell"):
        guessed(path)
    series[1]["values"][3][1] = "7"
    path.write_text(json.dumps(answer))
    task, found, settings, _ = guessed(path)
    assert (task, settings.id, settings.target) == ("forecast", ("metric.job",), ("value",))
    assert (found.step, found.times[0]) == ("1m", np.datetime64(begin, "s"))
    assert found[0][:3].ravel().tolist() == [0.5, 1.5, 2.5]
    series[1]["values"][3].append(0)
    path.write_text(json.dumps(answer))
    with pytest.raises(DataError, match="must be a pair"):
        guessed(path)


def test_tables_of_eurostat_hold_several_keys_in_a_column_and_flags_behind_numbers(tmp_path):
    path = tmp_path / "table.tsv"
    cells = ["1.5 ", "2.5 p", "-3 bu", "4.5 ", "5.5", "6.5 e", ": ", ": c"]
    rows = ["unit,geo\\TIME_PERIOD\t" + "\t".join(f"{year} " for year in range(2010, 2018))]
    rows += [f"PC,{geo}\t" + "\t".join(cells) for geo in ("AT", "BE")]
    path.write_text("\n".join(rows))
    settings = DataSettings(missing="previous")
    found, settings, _ = read(settings, path, task="forecast")
    assert (settings.id, found.step) == (("geo",), "1y")
    assert found[1].ravel().tolist() == [1.5, 2.5, -3, 4.5, 5.5, 6.5]


def test_flags_and_colons_stand_in_columns_of_numbers(tmp_path):
    path = tmp_path / "rates.csv"
    cells = ["1.5 p", "2.5 e", "3.5", "4.5 bu", "5.5", ":", "7.5"]
    path.write_text("year,rate\n" + "".join(f"{2000 + k},{one}\n" for k, one in enumerate(cells)))
    found, _, notes = read(DataSettings(missing="linear"), path, task="forecast")
    assert found[0].ravel().tolist() == [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]
    assert "the column 'rate' holds numbers with a mark (5*, 5 p) or a colon, left out" in notes


FIRST_DAY = np.datetime64("2020-01-01")


def aligned(count):
    """A table of fixed width with texts of two words and empty cells."""
    places = ("New York", "Los Angeles", "San Diego")
    rows = [
        f"{FIRST_DAY + k // 3}  {places[k % 3]:<13}{'' if k % 7 == 6 else f'{k}.5':>8}"
        for k in range(count)
    ]
    return ["DATE        PLACE            LOAD", *rows]


def test_a_table_of_fixed_width_may_have_empty_cells_and_texts_of_two_words(tmp_path):
    path = tmp_path / "table.txt"
    path.write_text("\n".join(aligned(84)))
    assert guess_task(DataSettings(), path)[0] == "forecast"
    found, settings, notes = read(DataSettings(missing="previous"), path, task="forecast")
    assert (settings.id, found.ids.tolist()[0]) == (("PLACE",), "New York")
    assert "the columns have a fixed width" in notes
    assert found[1][-1] == 82.5


def test_what_a_database_prints_is_a_table_in_a_text_file_too(tmp_path):
    path = tmp_path / "table.txt"
    rows = [f"| {FIRST_DAY + k} | {k % 7} |" for k in range(40)]
    path.write_text("\n".join(["+---+---+", "| day | load |", "+---+---+", *rows, "+---+---+"]))
    assert guessed(path)[0] == "forecast"


def test_a_line_that_does_not_fit_the_columns_is_refused(tmp_path):
    path = tmp_path / "table.txt"
    rows = aligned(400)
    rows[300] = rows[300].replace("-", "--------")
    path.write_text("\n".join(rows))
    with pytest.raises(DataError, match="crosses the border between two columns"):
        read(DataSettings(time=("DATE",), id=("PLACE",)), path, task="forecast")


def kaldi(folder, count=6):
    """A data folder of Kaldi, with recordings of two people."""
    lists = {"wav.scp": "sounds/{0}.wav", "text": "words {0}", "utt2spk": "speaker{1}"}
    for k in range(count):
        write(folder / "sounds" / f"{k}.wav", tone(hertz=300 + 50 * k))
    for name, form in lists.items():
        rows = [f"u{k} {form.format(k, k % 2)}\n" for k in range(count)]
        (folder / name).write_text("".join(rows))


def test_a_data_folder_of_kaldi_is_read(tmp_path):
    kaldi(tmp_path)
    for path in (tmp_path, tmp_path / "wav.scp"):
        task, found, settings, _ = guessed(path)
        assert (task, settings.group) == ("transcribe", "speaker")
        assert found.labels.tolist() == [f"words {k}" for k in range(6)]
    (tmp_path / "text").unlink()
    new = read(settings, tmp_path, task="transcribe", purpose="predict")[0]
    assert len(new) == 6


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        ("wav.scp", "u9 sph2pipe -f wav a.sph |", "a command, which is not run"),
        ("wav.scp", "u9 raw.ark:123", "a part of an archive"),
        ("text", "u9 more words", "'u9', which wav.scp lacks"),
        ("text", "u0 again", "two lines for 'u0'"),
        ("segments", "u0 u0 0.0 0.1", "cuts the recordings into parts"),
    ],
)
def test_what_kaldi_would_run_or_cut_is_refused(name, line, said, tmp_path):
    kaldi(tmp_path)
    with (tmp_path / name).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(DataError, match=said):
        guessed(tmp_path)


def test_recordings_are_not_the_number_that_they_predict(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("path\na.wav\nb.wav\n")
    with pytest.raises(ConfigError, match="no column is recognised"):
        read(DataSettings(), path, task="regress")
    with pytest.raises(ConfigError, match="holds the recordings"):
        read(DataSettings(target=("path",)), path, task="regress")


def test_a_folder_of_another_kind_of_text_is_running_text(tmp_path):
    for k in range(3):
        (tmp_path / f"{k}.md").write_text("# Title\n\nSome words.\n")
    (tmp_path / "figure.png").write_bytes(bytes(9))
    found, _, notes = read(DataSettings(), tmp_path, task="language")
    assert (len(found), found.ids[0]) == (3, "0.md")
    assert (
        "3 texts (.md) are read" in notes[0] and "not read: files of other kinds (.png)" in notes[0]
    )


def test_only_tasks_that_read_a_source_of_an_unknown_kind_are_proposed(tmp_path):
    for name, content, proposed in (("a.md", b"Words.\n", True), ("a.bin", b"\0\xff\1" * 9, False)):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DataError, match="not supported") as refused:
            guess_task(DataSettings(), path)
        assert ("--task language" in str(refused.value)) == proposed
        assert "--task translate" not in str(refused.value)
    for name in ("a.en.srt", "a.en.vtt", "a.tmx"):
        (tmp_path / name).write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\n")
        for task in ("forecast", "translate"):
            with pytest.raises(DataError, match="Write a table with a column for each language"):
                read(DataSettings(), tmp_path / name, task=task)
