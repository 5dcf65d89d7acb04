"""The audit: each kind of leak, planted in real data, is found, and clean data have none."""

import gzip
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import gatewise
from gatewise.arguments import experiment_for
from gatewise.judging.audit import Finding, of_folds
from gatewise.readers.datasets import path_of
from gatewise.training.ready import make_ready, prepared


def audited(data, settings=None, target=()):
    """The findings for these data."""
    return make_ready(*experiment_for(data, [settings or {}], target)).audit


def kinds(findings):
    return [one["kind"] for one in findings]


@pytest.mark.parametrize("name", ["seattle-weather", "japanese-vowels", "sms-spam"])
def test_clean_data_have_no_finding(name):
    assert audited(name) == []


@pytest.fixture(scope="module")
def weather():
    return pl.read_csv(path_of("seattle-weather"), try_parse_dates=True)


FORECAST = {
    "task": {"name": "forecast", "horizon": 3, "lookback": 10},
    "data": {"target": ["temp_max"], "time": "date"},
}


@pytest.mark.parametrize(
    ("role", "shift", "said"),
    [
        ("known", 0, "column 'copy' equals the target 'temp_max' of the same step"),
        ("known", -2, "column 'copy' equals the target 'temp_max' 2 steps later"),
        ("past", -1, "column 'copy' equals the target 'temp_max' 1 step later"),
        ("past", 0, ""),  # the past of the target is not a secret
        ("known", 3, ""),
    ],
)
def test_a_covariate_that_tells_the_target_is_found(weather, role, shift, said):
    copied = (1.8 * pl.col("temp_max") + 32).shift(shift, fill_value=50.0).alias("copy")
    frame = weather.select("date", "temp_max", copied)
    settings = FORECAST | {"data": FORECAST["data"] | {role: ["copy"]}}
    findings = audited(frame, settings)
    assert kinds(findings) == ["target"] * bool(said)
    assert all(said in one["where"] and "Leave it out" in one["advice"] for one in findings)


def test_a_test_file_that_begins_before_the_end_of_training_is_found(weather, tmp_path):
    frame = weather.select("date", "temp_max")
    frame[:1200].write_csv(tmp_path / "train.csv")
    for begin, found in ((1000, ["overlap"]), (1200, [])):
        frame[begin:].write_csv(tmp_path / "test.csv")
        files = {"path": str(tmp_path / "train.csv"), "test": str(tmp_path / "test.csv")}
        settings = FORECAST | {"data": FORECAST["data"] | files}
        assert kinds(audited(None, settings)) == found


@pytest.fixture
def digits(digits):
    """Those of all tests, with labels that are texts."""
    x, y = digits
    return x.astype(float), y.astype(str)


CLASSIFY = {"task": {"name": "classify"}}
ALLCLOSE = np.allclose


def test_sequences_that_are_nearly_equal_in_two_parts_are_found(digits, random):
    x, y = digits
    assert audited((x, y), CLASSIFY) == []
    near = x[:100] * random.uniform(0.9995, 1.0005, x[:100].shape)
    findings = audited((np.concatenate([x, near]), np.concatenate([y, y[:100]])), CLASSIFY)
    assert set(kinds(findings)) == {"duplicates"}
    assert "nearly so (test = training: " in findings[-1]["where"]


def test_leaks_are_told_once_for_all_seeds_and_trials(weather, caplog):
    late = weather.head(200).with_columns(wind=pl.col("temp_max").shift(-1, fill_value=0.0))
    given = FORECAST | {"data": FORECAST["data"] | {"past": ["wind"]}}
    ready = make_ready(*experiment_for(late, [given]))
    seed = ready.parts.experiment.having("training", seed=1)
    again = prepared(replace(ready.parts, experiment=seed), ready)
    assert again.audit == ready.audit and kinds(again.audit) == ["target"]
    assert caplog.text.count("Audit (target)") == 1


def test_copies_in_two_folds_are_found_and_those_in_one_fold_are_not(digits):
    x, y = digits
    pair = (np.concatenate([x, x[:2]]), np.concatenate([y, y[:2]]))
    ready = make_ready(*experiment_for(pair, [CLASSIFY | {"training": {"quality": "fast"}}], ()))
    folds = np.arange(len(ready.sequences)) % 5
    folds[-1] = folds[1]
    other = {"kind": "order", "where": "", "advice": ""}
    found = of_folds([{**other, "kind": "duplicates"}, other], ready.sequences, folds)
    assert kinds(found) == ["duplicates", "order"]
    assert found[0]["where"].startswith("a pair of sequences in two folds is equal")
    folds[-2] = folds[0]
    assert of_folds([other], ready.sequences, folds) == [other]


@pytest.mark.parametrize("given", [{"folds": 4}, {"repeats": 2}])
def test_a_run_tells_each_finding_once(random, given, caplog):
    x = random.normal(size=(12, 6, 2))
    x = np.concatenate([x, x[:4]])
    y = np.array(["a", "b"] * 8)
    settings = {"training": {"epochs": 1}, "network": {"units": [2]}}
    found = gatewise.train((x, y), settings=settings, **given).metrics["audit"]
    assert found
    assert all(("in two folds" in one["where"]) == ("folds" in given) for one in found)
    told = [line for line in caplog.messages if line.startswith("Audit (")]
    assert told == [Finding(**one).sentence() for one in found]


def test_copies_are_found_among_images_with_an_empty_border_without_comparing_all_pairs(
    digits, random, monkeypatch
):
    x, y = digits
    x = np.pad(x, ((0, 0), (2, 2), (9, 9)))  # equal means and deviations in the first columns
    near = x[:100] * random.uniform(0.9995, 1.0005, x[:100].shape)
    compared = []
    monkeypatch.setattr(
        np, "allclose", lambda *of, **said: compared.append(of) or ALLCLOSE(*of, **said)
    )
    findings = audited((np.concatenate([x, near]), np.concatenate([y, y[:100]])), CLASSIFY)
    assert set(kinds(findings)) == {"duplicates"}
    assert len(compared) < len(x)


def test_a_column_that_is_the_label_is_found(digits):
    x, y = digits
    codes = np.broadcast_to(7.0 - y.astype(float)[:, None, None], (*x.shape[:2], 1))
    [found] = audited((np.concatenate([x, codes], axis=2), y), CLASSIFY)
    assert found["kind"] == "target"
    assert "column 'x8' determines the label" in found["where"]


def test_a_clock_that_puts_the_labels_in_order_is_found(digits):
    x, y = digits
    order = np.argsort(y, kind="stable")
    clock = np.arange(x.shape[0] * 8, dtype=float).reshape(-1, 8, 1)
    [found] = audited((np.concatenate([x[order], clock], axis=2), y[order]), CLASSIFY)
    assert found["kind"] == "order"
    assert "column 'x8' puts the sequences in the order of the label" in found["where"]
    assert audited((np.concatenate([x, clock], axis=2), y), CLASSIFY) == []


@pytest.mark.parametrize("size", [1, 1e98, 1e-98])  # the squares of squares overflow, or are 0
def test_a_column_that_is_the_number_to_predict_is_found(digits, size):
    x = size * digits[0][:300]
    sums = x.sum(axis=(1, 2)) / 100
    tells = np.broadcast_to(3 * size - 2 * sums[:, None, None], (*x.shape[:2], 1))
    [found] = audited((np.concatenate([x, tells], axis=2), sums), {"task": {"name": "regress"}})
    assert found["kind"] == "target"


def test_a_group_on_both_sides_is_found(tmp_path, random):
    rows = [
        {"id": f"{part}{k}", "x": random.normal(), "label": "ab"[k % 2], "person": f"{k // 4}"}
        for part in ("train", "test")
        for k in range(40)
        for _ in range(6)
    ]
    frame = pl.DataFrame(rows)
    held = pl.col("id").str.starts_with("test")
    frame.filter(~held).write_csv(tmp_path / "train.csv")
    frame.filter(held & (pl.col("person") < "3")).write_csv(tmp_path / "test.csv")
    files = {"path": str(tmp_path / "train.csv"), "test": str(tmp_path / "test.csv")}
    names = {"id": "id", "label": "label", "group": "person"}
    [found] = audited(None, CLASSIFY | {"data": files | names})
    assert found["kind"] == "group"
    assert found["where"].endswith("the test part: 0, 1, 2")


def test_messages_in_two_files_are_found_whatever_their_case(tmp_path):
    text = gzip.decompress(path_of("sms-spam").read_bytes()).decode()
    header, *lines = text.splitlines()[:401]
    copies = ["\t".join([line.split("\t")[0], line.split("\t")[1].upper()]) for line in lines[:20]]
    names = {"text": ["text"], "label": "label", "quotes": False}
    for held, found in ((lines[300:] + copies, ["duplicates"]), (lines[300:], [])):
        (tmp_path / "train.tsv").write_text("\n".join([header, *lines[:300]]))
        (tmp_path / "test.tsv").write_text("\n".join([header, *held]))
        files = {"path": str(tmp_path / "train.tsv"), "test": str(tmp_path / "test.tsv")}
        assert kinds(audited(None, CLASSIFY | {"data": files | names})) == found
