"""The conformance kit on this plugin."""

from ofa_kit import AdapterConformance, ModalityConformance
from ofa_modality_video.sample import clip

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
