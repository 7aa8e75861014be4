"""The conformance kit on this plugin."""

from ofa_kit import MetricConformance, TaskConformance

PLUGIN = "ofa_task_language.manifest:MANIFEST"


class TestLanguageTasks(TaskConformance):
    plugin = PLUGIN


class _Texts(MetricConformance):
    plugin = PLUGIN
    predictions = ["a dog runs", "two cats", "the sun is low", "rain", "a cat"]
    references = ["a dog runs fast", "two cats", "the sun is high", "rain falls", "a bird"]


class TestExactMatch(_Texts):
    metric = "exact_match"
    bounds = (0.0, 1.0)


class TestTokenF1(_Texts):
    metric = "token_f1"
    bounds = (0.0, 1.0)


class TestBleu(_Texts):
    metric = "bleu"
    bounds = (0.0, 1.0)


class TestChrf(_Texts):
    metric = "chrf"
    bounds = (0.0, 1.0)


class TestRouge(_Texts):
    metric = "rouge"
    bounds = (0.0, 1.0)


class TestCider(_Texts):
    metric = "cider"


class TestWordErrorRate(_Texts):
    metric = "wer"


class TestCharacterErrorRate(_Texts):
    metric = "cer"


class TestPhonemeErrorRate(_Texts):
    metric = "per"


class TestVqaScore(_Texts):
    metric = "vqa_score"
    references = [[text] * 10 for text in _Texts.references]
    perfect = _Texts.references


class _Labels(MetricConformance):
    plugin = PLUGIN
    predictions = ["yes", "no", "no", "yes", "yes", "no"]
    references = ["yes", "no", "yes", "yes", "no", "no"]


class TestAccuracy(_Labels):
    metric = "accuracy"
    bounds = (0.0, 1.0)


class TestF1(_Labels):
    metric = "f1"
    options = {"positive": "yes"}
    bounds = (0.0, 1.0)


class TestMultilabelF1(_Labels):
    metric = "multilabel_f1"
    predictions = (["a", "b"], ["c"], [], ["a"])
    references = (["b", "a"], ["c", "d"], [], ["b"])
    bounds = (0.0, 1.0)


class TestMatthews(_Labels):
    metric = "matthews"
    bounds = (-1.0, 1.0)
