"""The conformance kit on this plugin."""

from ofa_kit import AdapterConformance, ModalityConformance
from ofa_modality_video.sample import clip
from ofacore.plugin import Registry

PLUGIN = "ofa_modality_video.manifest:MANIFEST"
IMAGE = ("ofa_modality_image.manifest:MANIFEST",)
SMALL = {"video": {"size": 16, "frames": 4}}
CLIPS = [clip(), clip()[:1], {"frames": list(clip()[::3]), "fps": 5}]


class TestVideo(ModalityConformance):
    plugin = PLUGIN
    requires = IMAGE
    values = CLIPS
    model = {"preprocessors": SMALL}
    bad_values = (object(), 7, "no/such/file.mp4", b"no video", [], {"frames": []})


class TestPooledTubelets(AdapterConformance):
    plugin = PLUGIN
    requires = IMAGE
    values = CLIPS
    model = {"preprocessors": SMALL}
    attributes = "pool=1"
    adapter = "video_tubelet"
    options = {"depth": 2, "patch": 4}


class TestPooledFrames(TestPooledTubelets):
    attributes = "pool=2"
    adapter = "video_image_sequence"
    options = {"frame_adapter": "image_patch_embed", "frame_options": {"class_token": True}}


def test_frames_are_read_by_the_options_of_pictures() -> None:
    """One plugin knows another by name alone, so each declares them; they must not drift apart."""
    registry = Registry.discover()
    video, image = (registry.component("preprocessor", name) for name in ("video", "image"))
    for name in ("size", "mean_std", "interpolation"):
        one, other = video.declared[name], image.declared[name]
        assert (one.default, one.choices, one.minimum, one.maximum) == (
            other.default,
            other.choices,
            other.minimum,
            other.maximum,
        )
