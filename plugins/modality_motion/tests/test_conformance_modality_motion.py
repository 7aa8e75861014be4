"""The conformance kit on this plugin."""

import numpy as np

from ofa_kit import (
    AdapterConformance,
    CriterionConformance,
    GeneratorConformance,
    MetricConformance,
    ModalityConformance,
)
from ofa_modality_motion.sample import clip

PLUGIN = "ofa_modality_motion.manifest:MANIFEST"
CLIPS = [clip(), clip()[:12], clip()[::-1].copy()]
NARROW = {
    kind: {"motion": {"max_dim": 8}} for kind in ("adapters", "heads_options", "preprocessors")
}


class TestMotion(ModalityConformance):
    plugin = PLUGIN
    values = CLIPS
    bad_values = (object(), np.zeros(3), "no/such.bvh", np.full((20, 6), np.nan))
    model = NARROW


class TestMotionAdapter(AdapterConformance):
    plugin = PLUGIN
    adapter = "motion"
    values = CLIPS


class TestDiffusionCriterion(CriterionConformance):
    plugin = PLUGIN
    criterion = "diffusion"
    width = 6

    def labels(self, length, item, rng):
        return {
            "clean": rng.standard_normal((length, 6)).astype(np.float32),
            "mask": np.ones((length, 6), bool),
        }


class TestDiffusionCriterionOfVelocities(TestDiffusionCriterion):
    options = {"scale_aux_loss_1": 1.0, "scale_aux_loss_2": 0.5}


class TestDiffusionGenerator(GeneratorConformance):
    plugin = PLUGIN
    generator = "diffusion"
    values = CLIPS
    model = NARROW
    generation = ({}, {"scheduler": "ddpm", "steps": 4})


class _Clips(MetricConformance):
    plugin = PLUGIN
    references = [clip() * scale for scale in (1.0, 2.0, 3.0, 4.0)]
    predictions = [clip() * scale + 0.1 for scale in (3.0, 2.0, 1.0, 4.5)]
    rows = [{"label": name} for name in "abcd"]


class TestMotionMse(_Clips):
    metric = "motion_mse"


class TestMotionRetrieval(_Clips):
    metric = "motion_retrieval"
    bounds = (0.0, 1.0)
