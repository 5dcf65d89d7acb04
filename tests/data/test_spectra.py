"""Log-mel frames are what their definition says; changes stay within their bounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.data import spectra
from gatewise.data.sequences import from_arrays
from gatewise.data.spectra import Changes, Spectrum
from gatewise.data.windows import cut
from gatewise.errors import ConfigError
from gatewise.settings import PreparationSettings

SPECTRUM = Spectrum(rate=8000, n_mels=20, frame_length=200, hop_length=80)


def noise(count, seed=0):
    return np.random.default_rng(seed).integers(-20_000, 20_000, count).astype(np.int16)


def tone(hertz, count=1600, rate=8000):
    wave = 10_000 * np.sin(2 * np.pi * hertz * np.arange(count) / rate)
    return wave.astype(np.int16)


def recordings(*arrays):
    return from_arrays(list(arrays), columns=("sound",), kind="sound", rate=8000)


def by_definition(samples, spectrum):
    """Sums over samples and frequencies, written out, in float64."""
    frame, hop = spectrum.frame_length, spectrum.hop_length
    size = 1 << (frame - 1).bit_length()
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (20, spectrum.rate / 2))
    edges = 700 * (10 ** (np.linspace(low, high, spectrum.n_mels + 2) / 2595) - 1)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame) / frame)  # Hann, periodic
    rows = []
    for begin in range(0, len(samples) - frame + 1, hop):
        piece = samples[begin : begin + frame].astype(np.float64) / 32768 * window
        energies = np.zeros(spectrum.n_mels)
        for k in range(size // 2 + 1):
            turn = np.exp(-2j * np.pi * k * np.arange(frame) / size)
            power = abs((piece * turn).sum()) ** 2
            heard = k * spectrum.rate / size
            for band in range(spectrum.n_mels):
                low, middle, high = edges[band : band + 3]
                if low < heard <= middle:
                    energies[band] += power * (heard - low) / (middle - low)
                elif middle < heard < high:
                    energies[band] += power * (high - heard) / (high - middle)
        rows.append(np.log(energies + 1e-6))
    return np.array(rows)


def test_frames_are_the_definition_written_out():
    samples = noise(500)
    found = spectra.frames(samples, SPECTRUM)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_definition(samples, SPECTRUM), atol=1e-4)


def test_a_tone_is_loudest_in_the_band_around_its_pitch():
    weights = spectra.filters(SPECTRUM)
    heard = np.fft.rfftfreq(2 * (len(weights) - 1), 1 / 8000)
    for hertz in (300, 1000, 2500):
        loudest = spectra.frames(tone(hertz), SPECTRUM).mean(axis=0).argmax()
        assert weights[np.abs(heard - hertz).argmin(), loudest] > 0


@pytest.mark.parametrize("mels", [10, 40, 80, 128])
def test_no_band_is_without_a_frequency(mels):
    weights = spectra.filters(Spectrum(8000, mels, frame_length=200, hop_length=80))
    assert weights.shape[1] == mels
    assert (weights.sum(axis=0) > 0).all()


@given(st.integers(0, 2000))
def test_count_is_that_of_the_frames(count):
    found = spectra.frames(noise(count), SPECTRUM)
    assert len(found) == SPECTRUM.count(count) >= 1


def test_silence_has_frames_without_infinities():
    found = spectra.frames(np.zeros(1000, np.int16), SPECTRUM)
    np.testing.assert_allclose(found, np.log(1e-6), rtol=1e-6)


def test_long_recordings_are_framed_as_short_ones_are(monkeypatch):
    whole = spectra.frames(noise(4000), SPECTRUM)
    monkeypatch.setattr(spectra, "FRAMES_AT_ONCE", 7)
    np.testing.assert_allclose(spectra.frames(noise(4000), SPECTRUM), whole, atol=1e-5)


def test_framed_keeps_recordings_apart():
    short, long = noise(300, 1), noise(900, 2)
    frames = spectra.framed(recordings(short, long), SPECTRUM)
    assert frames.kind == "numbers"
    assert frames.columns[0] == "mel_1"
    np.testing.assert_array_equal(frames[0], spectra.frames(short, SPECTRUM))
    np.testing.assert_array_equal(frames[1], spectra.frames(long, SPECTRUM))


def test_heard_are_the_samples_that_windows_of_frames_are_made_of():
    given_ = recordings(noise(300, 1), noise(2000, 2), noise(1500, 3))
    part = given_.chosen(np.array([2, 1]))
    pieces = cut(spectra.framed(part, SPECTRUM), 5, 5)
    played = spectra.heard(pieces, part, SPECTRUM)
    assert len(played) == len(pieces) > 4
    for k in range(len(pieces)):
        found = spectra.frames(played[k][:, 0], SPECTRUM)
        np.testing.assert_allclose(found, pieces[k], atol=1e-5)


def test_a_hop_longer_than_its_frame_is_refused():
    with pytest.raises(ConfigError, match="between two frames would be lost"):
        spectra.spectrum_of(PreparationSettings(frame_length=10, hop_length=20), 8000)


@given(st.integers(1, 3000), st.floats(0, 0.5), st.integers(0, 100))
def test_speed_never_makes_more_frames_than_were_counted_with(count, speed, seed):
    changes = Changes(noise=0.1, speed_perturbation=speed, freq_mask=0, time_mask=0)
    found = spectra.changed(noise(count), changes, np.random.default_rng(seed))
    assert SPECTRUM.count(len(found)) <= changes.longest(np.array([count]), SPECTRUM)[0]


def test_speed_moves_the_pitch_and_keeps_the_loudness():
    changes = Changes(noise=0, speed_perturbation=0.3, freq_mask=0, time_mask=0)
    for seed in range(5):
        found = spectra.changed(tone(500, 8000), changes, np.random.default_rng(seed))
        ratio = len(found) / 8000
        assert 0.7 <= ratio <= 1.3
        loudest = np.abs(np.fft.rfft(found)).argmax() / len(found) * 8000
        assert loudest == pytest.approx(500 / ratio, abs=2)
        assert found.std() == pytest.approx(tone(500).std(), rel=0.02)


def test_speed_leaves_a_recording_as_many_samples_as_it_needs():
    changes = Changes(noise=0, speed_perturbation=0.5, freq_mask=0, time_mask=0)
    for seed in range(20):
        found = spectra.changed(noise(1000), changes, np.random.default_rng(seed), least=990)
        assert len(found) >= 990


def test_noise_is_no_louder_than_asked_for():
    changes = Changes(noise=0.1, speed_perturbation=0, freq_mask=0, time_mask=0)
    for seed in range(20):
        away = spectra.changed(tone(500), changes, np.random.default_rng(seed)) - tone(500)
        assert 0 < away.std() < 0.11 * tone(500).std()


def test_masks_blank_whole_bands_and_frames_up_to_their_widths():
    changes = Changes(noise=0, speed_perturbation=0, freq_mask=5, time_mask=8)
    widths = set()
    for seed in range(50):
        steps = np.ones((100, 20))
        spectra.mask(steps, changes, np.random.default_rng(seed))
        bands, moments = (steps == 0).all(axis=0), (steps == 0).all(axis=1)
        assert ((steps == 0) == (bands[None] | moments[:, None])).all()
        assert bands.sum() <= 10
        assert moments.sum() <= 16
        widths.add((int(bands.sum()), int(moments.sum())))
    assert len(widths) > 20


def test_masks_leave_most_of_a_short_word():
    steps = np.ones((10, 20))
    changes = Changes(noise=0, speed_perturbation=0, freq_mask=0, time_mask=50)
    spectra.mask(steps, changes, np.random.default_rng(0))
    assert (steps == 1).all(axis=1).sum() >= 6


def test_a_rate_in_kilohertz_and_more_bands_than_can_be_heard_are_refused():
    with pytest.raises(ConfigError, match="16000, not 16"):
        spectra.spectrum_of(PreparationSettings(), 16)
    with pytest.raises(ConfigError, match="room for 400 at most"):
        spectra.spectrum_of(PreparationSettings(n_mels=4000), 8000)
