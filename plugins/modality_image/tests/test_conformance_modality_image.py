"""The conformance kit on this plugin."""

import numpy as np
import pytest

from ofa_kit import (
    AdapterConformance,
    CriterionConformance,
    GeneratorConformance,
    MetricConformance,
    ModalityConformance,
)
from ofa_modality_image.sample import picture

PLUGIN = "ofa_modality_image.manifest:MANIFEST"
SMALL = {name: {"size": 32} for name in ("image", "imagenet", "imagepretrain")}
PICTURES = [picture(), picture().rotate(90, expand=True), picture().resize((20, 20))]


class TestImage(ModalityConformance):
    plugin = PLUGIN
    values = PICTURES
    model = {"preprocessors": SMALL}
    bad_values = (object(), "no/such/file.png", b"no picture")


class TestImagenetPictures(TestImage):
    attributes = "preprocess=imagenet"


class TestPretrainPictures(TestImage):
    attributes = "preprocess=imagepretrain"


class _Written(ModalityConformance):
    """Pictures that are written: a value comes back at the size of its slot."""

    plugin = PLUGIN
    values = [value.resize((32, 32)) for value in PICTURES]
    bad_values = (object(), "no/such/file.png", b"no picture", np.zeros((4, 4, 3)))
    model = {"preprocessors": {"image_flow": {"size": 32, "patch": 8}}}


class TestFlow(_Written):
    attributes = "preprocess=image_flow"


TINY = {"size": 16, "factor": 4, "levels": [4, 3], "width": 8, "fit_steps": 2}


class _Codes(ModalityConformance):
    """A codec of two steps gives no picture back, but always the same."""

    plugin = PLUGIN
    values = [value.resize((16, 16)) for value in PICTURES]
    bad_values = (object(), "no/such/file.png", b"no picture", np.zeros((4, 4, 3)))
    model = {"preprocessors": {"image_vqgan": TINY}}
    tolerance = 256


class TestCodes(_Codes):
    attributes = "preprocess=image_vqgan"


class TestMaskedCodes(_Codes):
    attributes = "preprocess=image_vqgan"
    target_attributes = "corruption=masked_codes,generator=maskgit"


class TestMaskgit(GeneratorConformance):
    plugin = PLUGIN
    generator = "maskgit"
    values = PICTURES
    attributes = "preprocess=image_vqgan"
    target_attributes = "corruption=masked_codes"
    model = {"preprocessors": {"image_vqgan": TINY}}
    generation = ({}, {"order": "raster", "code_temperature": 0.0}, {"order": "random", "steps": 5})


class TestFlowCriterion(CriterionConformance):
    plugin = PLUGIN
    criterion = "image_flow"
    width = 6

    def labels(self, length, item, rng):
        return {
            "values": rng.standard_normal((length, 6)).astype(np.float32),
            "weight": np.full((length, 1), 1.0 + item, np.float32),
        }


class TestFlowGenerator(GeneratorConformance):
    plugin = PLUGIN
    generator = "image_flow"
    values = PICTURES
    attributes = "preprocess=image_flow"
    model = {"preprocessors": {"image_flow": {"size": 32, "patch": 8}}}


class _Pictures(MetricConformance):
    plugin = PLUGIN
    references = [value.resize((32, 32)) for value in (*PICTURES, PICTURES[0].rotate(45))]
    predictions = [value.rotate(5) for value in references]


class TestPsnr(_Pictures):
    metric = "psnr"


class TestSsim(_Pictures):
    metric = "ssim"
    bounds = (-1.0, 1.0)


class _Adapter(AdapterConformance):
    plugin = PLUGIN
    values = PICTURES
    model = {"preprocessors": SMALL}


class TestPatchEmbed(_Adapter):
    adapter = "image_patch_embed"


class TestVit(_Adapter):
    adapter = "image_vit"
    options = {"width": 24, "layers": 2, "heads": 2}


@pytest.mark.slow
class TestResnet(_Adapter):
    adapter = "image_resnet"
