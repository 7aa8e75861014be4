"""Noise against diffusers, losses against plain sums, sampling with a session made of real modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ofa_modality_motion.adapter import MotionAdapter
from ofa_modality_motion.criterion import DiffusionCriterion
from ofa_modality_motion.generator import DiffusionGenerator
from ofa_modality_motion.head import MotionHead
from ofa_modality_motion.noise import DiffusionCorruption, noised, signal_shares
from ofa_modality_motion.options import LEVELS
from ofa_modality_motion.preprocessor import MotionPreprocessor
from ofa_modality_motion.schedulers import SCHEDULERS
from ofacore.plugin import PluginError
from ofacore.protocols import (
    BuildContext,
    CriterionContext,
    DenseSegment,
    HeadContext,
    Hypothesis,
    RowContext,
    RowError,
    RowRequest,
    SlotPlan,
    Vocabulary,
)

WIDTH, HIDDEN = 40, 16
CLIPS = [np.random.default_rng(count).normal(5.0, 3.0, (count, 6)) for count in (20, 30, 40)]


def slot(loss: bool = True, **attributes: Any) -> SlotPlan:
    return SlotPlan("m", "MOTION", "target", 0, "motion", "motion", attributes, loss=loss)


def context(**row: Any) -> RowContext:
    return RowContext(row, "task", "infer", np.random.default_rng(0))


def fitted() -> MotionPreprocessor:
    preprocessor = MotionPreprocessor({"max_dim": WIDTH})
    preprocessor.bind(Vocabulary(), preprocessor.fit(CLIPS, np.random.default_rng(0)))
    return preprocessor


def encode(value: Any, plan: SlotPlan) -> DenseSegment:
    (segment,) = fitted().encode(value, plan, context())
    assert isinstance(segment, DenseSegment)
    return segment


def build(hidden: int = HIDDEN) -> BuildContext:
    return BuildContext(hidden, {"max_dim": WIDTH}, Vocabulary(), None)


class ToySession:
    """Adapter and head of this plugin around no backbone; ``oracle`` replaces what the head says."""

    def __init__(self, rows: int, oracle: torch.Tensor | None = None) -> None:
        torch.manual_seed(0)
        self.rows, self.pending, self.device = rows, None, torch.device("cpu")
        self.modules = {"motion": MotionAdapter(build())}
        self.heads = {"motion": MotionHead(build())}
        self.oracle, self.seen, self.committed = oracle, [], []
        self.unconditional: ToySession | None = None

    @torch.no_grad()
    def denoise(
        self, features: Mapping[str, Any], adapter: str, shapes: Sequence[tuple[int, ...]]
    ) -> torch.Tensor:
        self.seen.append((features["level"].clone(), features["frames"].clone(), tuple(shapes)))
        return self.modules[adapter].embed(features, shapes)

    @torch.no_grad()
    def predict(self, head: str, hidden: torch.Tensor, ctx: HeadContext) -> torch.Tensor:
        found = self.heads[head](hidden, ctx)
        return found if self.oracle is None else self.oracle.expand(len(hidden), -1)

    def commit(
        self, features: Mapping[str, Any], adapter: str, shapes: Sequence[tuple[int, ...]]
    ) -> None:
        self.committed.append((features, adapter, tuple(shapes)))


def run(
    session: ToySession, requests: list[RowRequest], seed: int = 0, **options: Any
) -> list[tuple[Hypothesis, ...]]:
    asked = []
    for number, one in enumerate(requests):
        rng = np.random.default_rng([seed, number])
        asked.append(replace(one, ctx=replace(one.ctx, rng=rng)))
    return DiffusionGenerator(options)(session, asked, torch.Generator())


def request(
    final: bool = True, row: Mapping[str, Any] | None = None, **attributes: Any
) -> RowRequest:
    plan, ctx = slot(**attributes), context(**(row or {}))
    return RowRequest(plan, ctx, fitted().expect(plan, ctx), final=final)


def oracle() -> torch.Tensor:
    return torch.linspace(-1, 1, WIDTH) * (torch.arange(WIDTH) < 6)


def test_noise_is_that_of_diffusers() -> None:
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(LEVELS, beta_schedule="squaredcos_cap_v2", prediction_type="sample")
    assert np.allclose(signal_shares(), scheduler.alphas_cumprod.numpy(), rtol=1e-3, atol=1e-9)
    rng = np.random.default_rng(0)
    clean, noise = rng.normal(size=(2, 7, 3)).astype(np.float32)
    for step in (0, 1, 500, 998, 999):
        theirs = scheduler.add_noise(
            torch.from_numpy(clean), torch.from_numpy(noise), torch.tensor([step])
        )
        assert np.allclose(noised(clean, noise, step), theirs, atol=1e-4)


def test_corruption_spares_given_frames_and_padding_and_keeps_a_clean_copy() -> None:
    value = {"frames": CLIPS[0], "known": [1] * 4 + [0] * 16}
    segment = encode(value, slot())
    corrupted = DiffusionCorruption({})(segment, np.random.default_rng(1))
    clean, frames, level = (
        segment.labels["clean"],
        corrupted.features["frames"],
        corrupted.features["level"],
    )
    assert np.array_equal(frames[:4], clean[:4])
    assert (frames[4:, :6] != clean[4:, :6]).all()
    assert not frames[:, 6:].any()
    assert level.tolist()[:4] == [0] * 4
    assert len(set(level[4:].tolist())) == 1
    assert 1 <= level[-1] <= LEVELS
    assert np.array_equal(corrupted.context["frames"], clean)
    assert not corrupted.context["level"].any()
    assert frames.dtype == np.float32
    again = DiffusionCorruption({})(segment, np.random.default_rng(1))
    assert np.array_equal(again.features["frames"], frames)
    assert corrupted.labels is segment.labels


def test_length_and_coordinates_agree_with_what_embed_returns() -> None:
    adapter, shapes = MotionAdapter(build()), [(3,), (5,), (3,)]
    features = {
        "frames": torch.randn(11, WIDTH),
        "level": torch.tensor([0] * 3 + [7] * 5 + [9] * 3),
    }
    states = adapter.embed(features, shapes)
    assert states.shape == (sum(MotionAdapter.length(shape, {}) for shape in shapes), HIDDEN)
    assert MotionAdapter.coordinates((3,), {}).tolist() == [[0] * 3, [1] * 3, [2] * 3]
    pieces = [
        {name: value.split([3, 5, 3])[number] for name, value in features.items()}
        for number in range(3)
    ]
    singles = torch.cat(
        [adapter.embed(piece, [shape]) for piece, shape in zip(pieces, shapes, strict=True)]
    )
    torch.testing.assert_close(states, singles)
    assert adapter.to(torch.bfloat16).embed(features, shapes).dtype == torch.bfloat16


def test_clean_frames_do_not_read_the_level_network_and_noisy_ones_do() -> None:
    adapter, frames = MotionAdapter(build()), torch.randn(2, WIDTH)
    before = [
        adapter.embed({"frames": frames, "level": torch.full((2,), level)}, [(2,)])
        for level in (0, 900)
    ]
    with torch.no_grad():
        adapter.level[2].bias += 1.0
    after = [
        adapter.embed({"frames": frames, "level": torch.full((2,), level)}, [(2,)])
        for level in (0, 900)
    ]
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1])


def test_widths_that_differ_are_named() -> None:
    with pytest.raises(ValueError, match="frames are 8 wide, option max_dim=40"):
        MotionAdapter(build()).embed({"frames": torch.zeros(1, 8), "level": torch.zeros(1)}, [(1,)])


def test_loss_is_the_sum_over_learned_frames_of_their_mean_error() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths, rows = (4, 6), 10
    predicted, clean = torch.randn(2, rows, WIDTH, generator=generator)
    mask = torch.zeros(rows, WIDTH, dtype=torch.bool)
    mask[1:4, :6] = mask[4:, :9] = True
    criterion = DiffusionCriterion({})
    ctx = CriterionContext(lengths, {"clean": lengths, "mask": lengths})
    loss = criterion(predicted, {"clean": clean, "mask": mask}, ctx)
    expected = [
        sum(((predicted[i, :6] - clean[i, :6]) ** 2).mean() for i in range(1, 4)),
        sum(((predicted[i, :9] - clean[i, :9]) ** 2).mean() for i in range(4, 10)),
    ]
    torch.testing.assert_close(loss.values, torch.stack(expected))
    assert [criterion.count({"mask": piece.numpy()}) for piece in mask.split(lengths)] == [3, 6]


def test_velocity_loss_sees_speed_and_not_place() -> None:
    clean, mask = torch.randn(6, WIDTH), torch.ones(6, WIDTH, dtype=torch.bool)
    criterion = DiffusionCriterion(
        {"scale_main_loss": 0.0, "scale_aux_loss_1": 2.0, "scale_aux_loss_2": 1.0}
    )
    ctx, labels = CriterionContext((6,), {}), {"clean": clean, "mask": mask}
    assert criterion(clean + 3.0, labels, ctx).values.item() < 1e-6
    tilted = clean + torch.arange(6.0)[:, None]
    assert abs(criterion(tilted, labels, ctx).values.item() - 2.0 * 5) < 1e-4


@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
def test_an_exact_predictor_gives_its_motion_with_every_scheduler(scheduler: str) -> None:
    session = ToySession(2, oracle())
    found = run(
        session,
        [request(False, length="5"), request(False, length="3")],
        scheduler=scheduler,
        steps=8,
    )
    for produced, length in zip(found, (5, 3), strict=True):
        assert produced[0].value.shape == (length, WIDTH)
        assert np.allclose(produced[0].value, oracle().numpy(), atol=2e-2)
    features, adapter, shapes = session.committed[0]
    assert shapes == ((5,), (3,))
    assert adapter == "motion"
    assert not features["level"].any()
    assert len(session.committed) == 1


def test_sampling_starts_at_noise_and_ends_near_clean() -> None:
    session = ToySession(1, oracle())
    run(session, [request(length="200")], steps=10)
    level, frames, _ = session.seen[0]
    assert level[0] > 0.85 * LEVELS
    assert 0.8 < frames[:, :6].std() < 1.2
    assert not frames[:, 6:].any()
    assert session.seen[-1][0][0] < 0.1 * LEVELS


def test_equal_seeds_give_equal_motion_and_candidates_differ() -> None:
    def values(seed: int) -> list[np.ndarray]:
        return [
            hypothesis.value
            for hypothesis in run(
                ToySession(1), [request(False, length="4")], seed, steps=3, n_best=2
            )[0]
        ]

    assert np.array_equal(values(1)[0], values(1)[0])
    assert not np.array_equal(values(1)[0], values(2)[0])
    assert len(values(1)) == 2
    assert not np.array_equal(*values(1))


def test_the_length_comes_from_attribute_own_clip_or_training_mean() -> None:
    rows = [
        request(True, {"n": 9, "m": CLIPS[0]}, length="n"),
        request(True, {"m": CLIPS[0]}, length="7"),
        request(True, {"m": CLIPS[0]}),
        request(),
        request(max_length=25),
    ]
    lengths = [len(run(ToySession(1, oracle()), [row], steps=1)[0][0].value) for row in rows]
    assert lengths == [9, 7, 20, 30, round((20 + 25 + 25) / 3)]


def test_given_frames_stay_and_enter_without_noise() -> None:
    value = {"frames": CLIPS[0], "known": [1] * 3 + [0] * 16 + [1]}
    session = ToySession(1, oracle())
    found = run(session, [request(True, {"m": value})], steps=4)[0][0].value
    clean = encode(CLIPS[0], slot()).features["frames"]
    assert np.allclose(found[[0, 1, 2, 19]], clean[[0, 1, 2, 19]], atol=1e-5)
    assert np.allclose(found[3:19], oracle().numpy(), atol=1e-3)
    for level, frames, _ in session.seen:
        assert level[[0, 1, 2, 19]].tolist() == [0] * 4
        assert (level[3:19] > 0).all()
        assert np.allclose(frames[0], clean[0], atol=1e-5)


def test_nothing_is_committed_where_nothing_follows() -> None:
    session = ToySession(1, oracle())
    run(session, [request(final=True)], steps=1)
    assert not session.committed


def test_guidance_moves_away_from_the_unconditional_answer() -> None:
    session = ToySession(1, oracle())
    session.unconditional = ToySession(1, torch.zeros(WIDTH))
    found = run(session, [request(False, length="4")], steps=6, guidance=2.5)[0][0].value
    assert np.allclose(found, 2.5 * oracle().numpy(), atol=1e-3)
    assert len(session.committed) == 1


def test_errors_name_the_way_out() -> None:
    with pytest.raises(PluginError, match="guidance=2 needs a prompt that can be dropped"):
        run(ToySession(1), [request()], guidance=2.0)
    with pytest.raises(
        PluginError, match="generation.scheduler: no 'ddin' among .*did you mean 'ddim'"
    ):
        run(ToySession(1), [request()], scheduler="ddin")
    with pytest.raises(PluginError, match="generation.steps=0 must be between 1 and 1000"):
        run(ToySession(1), [request()], steps=0)
    with pytest.raises(
        RowError, match="7 numbers a frame, but this model was fitted on clips of 6"
    ):
        run(ToySession(1), [request(dims=7)])
