"""The conformance kit on this plugin."""

import pytest

from ofa_kit import AdapterConformance, ModalityConformance
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
