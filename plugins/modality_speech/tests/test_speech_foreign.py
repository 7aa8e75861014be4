"""What comes along from models of OFASys besides their weights."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_modality_speech.foreign import STATISTICS, line_of, stored_statistics
from ofa_modality_speech.phones import PhonePreprocessor
from ofa_modality_speech.statistics import ANY, from_artifact
from ofacore.plugin import PluginError
from ofacore.protocols import PositionLine


def test_statistics_beside_a_checkpoint_come_along(tmp_path):
    plain = from_artifact(stored_statistics(tmp_path, 3))[ANY]
    frames = np.array([[1.0, 2.0, 4.0]])
    assert np.allclose(plain.normalise(frames), frames)
    np.savez(tmp_path / STATISTICS, mean=np.ones(3), std=np.array([1.0, 2.0, 3.0]))
    found = from_artifact(stored_statistics(tmp_path, 3))[ANY]
    assert np.allclose(found.normalise(frames), [[0, 0.5, 1]])
    with pytest.raises(PluginError, match="expected 80 numbers each"):
        stored_statistics(tmp_path, 80)
    (tmp_path / STATISTICS).write_bytes(b"no archive")
    with pytest.raises(PluginError, match="expected the arrays 'mean' and 'std'"):
        stored_statistics(tmp_path, 3)


def test_a_line_has_three_numbers():
    assert line_of([16, 40, 8]) == PositionLine(16, 40, 8) and line_of(()) is None
    for wrong in ([16], [16, 0, 8]):
        with pytest.raises(PluginError, match="three whole numbers above 0"):
            line_of(wrong)


def test_phonemes_of_a_dictionary_stand_in_place_of_the_inventory(tmp_path):
    phones = PhonePreprocessor({})
    names = ["<s>", "<phone>_dict_begin", "<phone>_b", "<phone>_a1", "<phone>_dict_end", "x"]
    artifact = phones.import_files(tmp_path, names)
    assert list(phones.foreign_names(artifact).values()) == [[("<phone>_b",), ("<phone>_a1",)]]
    with pytest.raises(PluginError, match="the dictionary has no phonemes"):
        phones.import_files(tmp_path, ["<s>", "x"])
