"""Metrics on text against hand-computed cases, the libraries' own numbers, and the rules of merging."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_task_language.manifest import MANIFEST
from ofacore.plugin import Registry

REGISTRY = Registry.of(MANIFEST)
OTHERS = ("perplexity", "retrieval", "multilabel_f1")
"""Metrics that judge something else than a text."""
NAMES = [name for name in REGISTRY.names("metric") if name not in OTHERS]


def metric(name, **options):
    return REGISTRY.load("metric", name)(options)


def score(name, predictions, references, **options):
    judge = metric(name, **options)
    judge.update(predictions, references, [{}] * len(predictions))
    return judge.compute()


def test_the_announced_options_are_all_options():
    for name in REGISTRY.names("metric"):
        judge = metric(name, **REGISTRY.component("metric", name).options)
        assert isinstance(judge.higher_is_better, bool)


@pytest.mark.parametrize(
    ("name", "predictions", "references", "options", "expected"),
    [
        ("accuracy", ["a", "b", None], ["a", "c", "d"], {}, 1 / 3),
        ("accuracy", [1, np.int64(2)], ["1", 2], {}, 1.0),
        ("accuracy", ["A", "x"], ["a", ["y", "x"]], {}, 0.5),
        ("exact_match", ["a  b ", "A."], ["a b", "a"], {}, 0.5),
        (
            "exact_match",
            ["a  b ", "A."],
            ["a b", "a"],
            {"uncased": True, "no_punctuation": True},
            1.0,
        ),
        ("token_f1", ["the cat sat"], [["a dog", "the cat"]], {}, 0.8),
        ("token_f1", ["", "x"], ["", ""], {}, 0.5),
        ("vqa_score", ["yes", "no", "maybe"], [{"yes": 1.0, "no": 0.3}] * 3, {}, 1.3 / 3),
        ("vqa_score", ["two"], [["two", "two", "three", "four"]], {}, 2 / 3),
        ("vqa_score", ["Two", "two"], ["two", "three"], {"uncased": True}, 0.5),
        # precision 2/3, recall 1/2
        ("f1", list("yyyn"), list("yynn"), {"positive": "y"}, 0.8),
        ("f1", list("aab"), list("abb"), {}, (2 / 3 + 2 / 3) / 2),
        ("f1", ["a", "z"], ["a", "b"], {}, 0.5),
        ("f1", ["n", "n"], ["n", "n"], {"positive": "y"}, 0.0),
        (
            "multilabel_f1",
            [list("ab"), ["c"], None],
            [list("a"), list("d"), []],
            {},
            (2 / 3 + 1) / 3,
        ),
        ("multilabel_f1", [list("aab"), ["c"]], [["a"], ["d"]], {"average": "micro"}, 2 / 5),
        ("multilabel_f1", [list("ba"), ["c"]], [["a"], ["a"]], {"average": "macro"}, 2 / 3),
        ("matthews", list("yynn"), list("ynyn"), {}, 0.0),
        ("matthews", list("ynyn"), list("ynyn"), {"positive": "y"}, 1.0),
        ("matthews", list("yyyy"), list("ynyn"), {}, 0.0),
        # 1 substitution and 1 insertion over 3 + 2 words
        ("wer", ["a x c", "a b c"], ["a b c", "a b"], {}, 2 / 5),
        ("wer", ["a b c d"], [["x y", "a b c"]], {}, 1 / 3),
        ("cer", ["helo", "b"], ["hello", "a"], {}, 2 / 6),
        ("cer", [""], ["abcd"], {}, 1.0),
        ("per", ["HH AH L OW", "K T"], ["HH EH L OW", "K AE T"], {}, 2 / 7),
        ("rouge", ["the cat"], ["the cat sat down"], {}, 2 * 1.0 * 0.5 / 1.5),
        ("bleu", ["a b c d e"], ["a b c d e"], {}, 1.0),
        ("chrf", ["abc", "x"], ["abc", "y"], {"char_order": 1}, 0.75),
    ],
)
def test_hand_computed_cases(name, predictions, references, options, expected):
    assert next(iter(score(name, predictions, references, **options).values())) == pytest.approx(
        expected
    )


HYPOTHESES = ["the cat sat on the mat", "a dog barks at night", "Hello, world!"]
REFERENCES = [
    ["the cat is on the mat", "there is a cat on the mat"],
    ["a dog barked in the night"],
    ["hello world"],
]


def test_bleu_and_chrf_are_those_of_sacrebleu():
    import sacrebleu

    streams = [
        [refs[0] for refs in REFERENCES],
        [refs[1] if len(refs) > 1 else None for refs in REFERENCES],
    ]
    assert (
        score("bleu", HYPOTHESES, REFERENCES)["bleu"] * 100
        == sacrebleu.corpus_bleu(HYPOTHESES, streams).score
    )
    assert (
        score("chrf", HYPOTHESES, REFERENCES)["chrf"] * 100
        == sacrebleu.corpus_chrf(HYPOTHESES, streams).score
    )
    chrf2 = sacrebleu.corpus_chrf(HYPOTHESES, streams, word_order=2).score
    assert score("chrf", HYPOTHESES, REFERENCES, word_order=2)["chrf"] * 100 == chrf2


def test_rouge_is_that_of_rouge_score_with_the_best_reference():
    from rouge_score.rouge_scorer import RougeScorer

    names = ["rouge1", "rouge2", "rougeL"]
    scorer = RougeScorer(names)
    found = score("rouge", HYPOTHESES, REFERENCES)
    assert list(found) == names
    for name in names:
        best = [
            max(scorer.score(r, h)[name].fmeasure for r in refs)
            for h, refs in zip(HYPOTHESES, REFERENCES, strict=True)
        ]
        assert found[name] == pytest.approx(sum(best) / 3)


def test_f1_and_matthews_are_those_of_scikit_learn():
    from sklearn.metrics import f1_score, matthews_corrcoef

    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 3, (2, 60)).astype(str).tolist()
    for average in ("macro", "micro", "weighted"):
        expected = f1_score(truth, guess, average=average)
        assert score("f1", guess, truth, average=average)["f1"] == pytest.approx(expected)
    assert score("matthews", guess, truth)["matthews"] == pytest.approx(
        matthews_corrcoef(truth, guess)
    )
    binary = f1_score([x == "1" for x in truth], [x == "1" for x in guess])
    assert score("f1", guess, truth, positive="1")["f1"] == pytest.approx(binary)


def test_error_rates_are_those_of_jiwer_over_the_corpus():
    import jiwer

    truth = [refs[0] for refs in REFERENCES]
    assert score("wer", HYPOTHESES, truth)["wer"] == jiwer.wer(truth, HYPOTHESES)
    assert score("cer", HYPOTHESES, truth)["cer"] == jiwer.cer(truth, HYPOTHESES)


def test_cider_is_ten_for_the_reference_itself_and_zero_for_other_words():
    truth = ["a cat on a red mat", "two dogs run in green grass", "the old man reads a book"]
    assert score("cider", truth, truth)["cider"] == pytest.approx(10)
    assert score("cider", ["x y z"] * 3, truth)["cider"] == 0
    assert score("cider", [text.upper() + "!" for text in truth], truth)["cider"] == pytest.approx(
        10
    )


def test_cider_of_one_word_texts_by_hand():
    # one word in one of two references: only the first of four n-gram orders can agree, 10 / 4 for the right sample
    assert score("cider", ["cat", "cow"], ["cat", "dog"])["cider"] == pytest.approx(10 / 4 / 2)


def test_cider_does_not_depend_on_batches():
    whole, parts = metric("cider"), metric("cider")
    whole.update(HYPOTHESES, REFERENCES, [{}] * 3)
    for prediction, refs in zip(HYPOTHESES, REFERENCES, strict=True):
        parts.update([prediction], [refs], [{}])
    assert whole.compute() == parts.compute() and whole.compute()["cider"] > 0


def test_perplexity_from_log_probabilities():
    judge, other = metric("perplexity"), metric("perplexity")
    judge.update([np.log([0.5, 0.5]).astype("float32")], ["a b"], [{}])
    other.update([[math.log(0.125)]], ["c"], [{}])
    judge.merge(other)
    assert judge.compute()["perplexity"] == pytest.approx((2 * 2 * 8) ** (1 / 3), rel=1e-6)
    assert judge.needs == "log_probs"
    for bad in ("text", 3, [0.5], [math.nan]):
        with pytest.raises(ValueError, match="sample 0"):
            judge.update([bad], ["a"], [{}])


def test_retrieval_ranks_candidates_against_what_is_usual_for_them():
    rows = [
        {"candidates": ["cat", "dog"]},
        {"candidates": ["dog", "cat"]},
        {"candidates": ["cat", "dog"]},
    ]
    likely = [[-1.0, -7.0], [-4.0, -3.0], [-1.5, -9.0]]  # "cat" is the likelier everywhere
    references = ["cat", "dog", "cat"]
    judge, other = metric("retrieval"), metric("retrieval")
    judge.update(likely[:1], references[:1], rows[:1])
    other.update(likely[1:], references[1:], rows[1:])
    judge.merge(other)
    assert judge.items() == [1.0, 1.0, 1.0] and judge.compute() == {"retrieval": 1.0}
    assert judge.needs == "candidates" and judge.candidates == "candidates"
    bare = metric("retrieval")
    bare.update([[]], ["cat"], [{}])
    assert math.isnan(bare.compute()["retrieval"]) and not bare.items()
    for bad, reference, row in (
        ([-1.0], "cat", rows[0]),
        ("text", "cat", rows[0]),
        ([-1.0, -2.0], "bird", rows[0]),
        ([], "cat", {"candidates": []}),
    ):
        with pytest.raises(ValueError, match="retrieval, sample 0"):
            judge.update([bad], [reference], [row])


def computed(judge):
    """What a metric computes; nothing where it says that these references tell nothing."""
    try:
        return judge.compute()
    except ValueError as error:
        assert "even a faultless answer scores 0" in str(error)
        return {}


WORDS = st.lists(st.sampled_from(["a", "b", "cat", "B.", "dog"]), max_size=4).map(" ".join)
SAMPLES = st.lists(st.tuples(WORDS, WORDS | st.lists(WORDS, min_size=1, max_size=3)), max_size=6)


@pytest.mark.parametrize("name", NAMES)
@given(samples=SAMPLES, cut=st.integers(0, 6), reverse=st.booleans())
@settings(max_examples=25, deadline=None)
def test_parts_merged_in_any_order_equal_one_pass(name, samples, cut, reverse):
    whole, first, second = metric(name), metric(name), metric(name)
    for judge, part in ((whole, samples), (first, samples[:cut]), (second, samples[cut:])):
        judge.update([p for p, _ in part], [r for _, r in part], [{}] * len(part))
        computed(judge)
    merged, other = (second, first) if reverse else (first, second)
    merged.merge(other)
    assert computed(merged) == pytest.approx(computed(whole), nan_ok=True, abs=1e-12)
    assert sorted(merged.items()) == pytest.approx(sorted(whole.items()))


@pytest.mark.parametrize("name", NAMES)
@given(samples=SAMPLES.filter(bool))
@settings(max_examples=25, deadline=None)
def test_items_are_one_number_a_sample_with_the_score_as_mean_or_none(name, samples):
    judge = metric(name)
    judge.update([p for p, _ in samples], [r for _, r in samples], [{}] * len(samples))
    items = judge.items()
    assert len(items) in (0, len(samples))
    if items:
        assert sum(items) / len(items) == pytest.approx(next(iter(judge.compute().values())))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_gives_no_number(name):
    assert all(math.isnan(value) for value in metric(name).compute().values())


@pytest.mark.parametrize("name", NAMES)
def test_bad_values_are_refused_by_name(name):
    with pytest.raises(ValueError, match=f"{name}: 1 predictions but 2 references"):
        metric(name).update(["a"], ["a", "b"], [{}])
    with pytest.raises(ValueError, match=f"{name}, sample 1: there is no reference"):
        metric(name).update(["a", "b"], ["a", None], [{}] * 2)
    with pytest.raises(ValueError, match=f"{name}, sample 0: expected text, got ndarray"):
        metric(name).update([np.zeros(3)], ["a"], [{}])


def test_an_unknown_average_is_refused():
    with pytest.raises(ValueError, match="macro, micro or weighted"):
        metric("f1", average="makro")


def test_metrics_import_their_libraries_at_first_use():
    heavy = "{'sklearn', 'sacrebleu', 'jiwer', 'rouge_score', 'pycocoevalcap', 'torch'}"
    modules = ", ".join(
        f"ofa_task_language.metrics.{name}"
        for name in ("labels", "words", "ngrams", "cider", "error_rates")
    )
    code = f"import sys, {modules}; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_labels_of_rows_are_lists_as_many_as_references():
    with pytest.raises(ValueError, match="multilabel_f1: 1 predictions but 2 references"):
        metric("multilabel_f1").update([["a"]], [["a"], ["b"]], [{}])
    with pytest.raises(ValueError, match="multilabel_f1, sample 0: expected the list of labels"):
        metric("multilabel_f1").update(["a"], [["a"]], [{}])


@pytest.mark.parametrize("texts", [["a b", "c"], ["\u6211\u559c\u6b22\u732b\u548c\u72d7"]])
def test_bleu_of_references_without_four_words_is_refused_with_a_way_out(texts):
    for predictions in (texts, ["x"] * len(texts)):
        with pytest.raises(
            ValueError, match="bleu: no reference has four words, .*; take chrf .* set tokenize: zh"
        ):
            score("bleu", predictions, texts)
    assert score("chrf", texts, texts)["chrf"] == 1.0
    assert score("bleu", ["a b", ""], ["a b", "a b c d"]) == {"bleu": 0.0}
    assert score("bleu", [*texts, "a b c d"], [*texts, "a b c d"]) == {"bleu": 1.0}


def test_bleu_of_texts_without_blanks_as_advised():
    text = "\u6211\u559c\u6b22\u732b\u548c\u72d7"
    for tokenize in ("zh", "char"):
        assert score("bleu", [text], [text], tokenize=tokenize) == {"bleu": 1.0}


def test_empty_answers_and_references_keep_their_places():
    assert score("chrf", ["", "b c d"], ["a b c", "b c d"])["chrf"] < 1.0
    assert score("bleu", ["", "a b c d"], ["x y z w", "a b c d"])["bleu"] < 1.0
    assert score("bleu", ["a b c d", ""], ["a b c d", ""]) == {"bleu": 1.0}
    for name in ("bleu", "chrf"):
        assert math.isnan(score(name, [""], [""])[name])


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        (
            "bleu",
            {"tokenize": "chinese"},
            "bleu: option tokenize is 'chinese'; expected one of 13a, none",
        ),
        (
            "chrf",
            {"char_order": 0},
            "chrf: option char_order is 0; expected a whole number, at least 1",
        ),
        ("chrf", {"beta": "two"}, "chrf: option beta is 'two'"),
        ("rouge", {"tokenize": "zh"}, "rouge: option tokenize is 'zh'; expected rouge or unicode"),
    ],
)
def test_an_option_without_a_meaning_is_refused_before_anything_is_judged(name, options, said):
    with pytest.raises(ValueError, match=said):
        metric(name, **options)


def test_a_tokenizer_that_is_not_installed_is_refused_with_its_package(monkeypatch):
    monkeypatch.setattr("ofa_task_language.metrics.ngrams.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"tokenize=ja-mecab needs a package; pip install 'sacrebleu\[ja\]'"
    ):
        metric("bleu", tokenize="ja-mecab")
    metric("bleu", tokenize="zh")


@pytest.mark.parametrize(
    "text",
    [
        "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
        "\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440",
        "\u0939\u093f\u0928\u094d\u0926\u0940 \u092d\u093e\u0937\u093e",
        "\u6211\u559c\u6b22\u732b",
    ],
)
def test_rouge_of_other_scripts_is_asked_for(text):
    with pytest.raises(
        ValueError, match="rouge, sample 1: no word of a-z or 0-9 .*; set tokenize: unicode"
    ):
        score("rouge", ["a", text], ["a", text])
    assert score("rouge", [text], [text], tokenize="unicode")["rouge1"] == 1.0
    assert score("rouge", ["x"], [text], tokenize="unicode")["rouge1"] == 0.0


def test_words_of_any_script_are_those_of_rouge_score_for_english():
    for stemmer in (False, True):
        plain = score("rouge", HYPOTHESES, REFERENCES, stemmer=stemmer)
        assert score("rouge", HYPOTHESES, REFERENCES, stemmer=stemmer, tokenize="unicode") == plain
    one, other = "\u6211\u559c\u6b22\u732b", "\u6211\u559c\u6b22\u72d7"
    assert score("rouge", [one], [other], tokenize="unicode")["rouge1"] == 0.75
    hindi = "\u0939\u093f\u0928\u094d\u0926\u0940"
    assert score("rouge", [hindi], [f"{hindi} x"], tokenize="unicode")["rouge1"] == pytest.approx(
        2 / 3
    )


@pytest.mark.parametrize("name", ["f1", "matthews"])
def test_a_positive_label_in_another_spelling_is_refused(name):
    with pytest.raises(
        ValueError, match=f"{name}: option positive is 'Yes', but the label is written 'yes'"
    ):
        score(name, ["yes", "no"], ["yes", "no"], positive="Yes")
    assert score(name, ["yes", "no"], ["yes", "no"], positive="yes")[name] == 1.0


def test_retrieval_among_values_that_one_row_alone_has():
    rows = [{"candidates": ["a", "b"]}, {"candidates": ["c", "d"]}]
    judge = metric("retrieval")
    judge.update([[-5.0, -1.0], [-1.0, -5.0]], ["b", "d"], rows)
    assert judge.items() == [1.0, 0.0]
    undecided = metric("retrieval")
    undecided.update([[-1.0, -1.0], [-1.0, -1.0]], ["a", "d"], rows)
    assert undecided.items() == [0.5, 0.5]


def test_what_is_impossible_comes_last_in_retrieval():
    never = -math.inf
    judge = metric("retrieval")
    judge.update(
        [[never, -1.0], [never, -2.0], [-1.0, never]],
        ["a", "b", "b"],
        [{"candidates": ["b", "a"]}] * 3,
    )
    assert judge.items() == [1.0, 0.0, 1.0]
    hopeless = metric("retrieval")
    hopeless.update([[never, never]] * 2, ["a", "b"], [{"candidates": ["a", "b"]}] * 2)
    assert hopeless.items() == [0.5, 0.5]
