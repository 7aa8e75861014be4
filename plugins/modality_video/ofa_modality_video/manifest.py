"""What this package adds: the slot type VIDEO, its preprocessor and adapters."""

from __future__ import annotations

from ofa_modality_video.values import is_video
from ofacore.plugin import Attribute, Component, ModalityManifest, Option, SlotType

_PACKAGE = "ofa_modality_video"
_FRAMINGS = ("image", "imagenet", "imagepretrain")
_STATISTICS = ("half", "imagenet")
_INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
_MOST_FRAMES = 512
_OPTIONS = {
    "frames": Option(8, "Most frames of a clip.", minimum=1, maximum=_MOST_FRAMES),
    "size": Option(64, "Side of the view in pixels.", minimum=1, maximum=4096),
    "mean_std": Option("half", "Normalisation of pixels.", choices=_STATISTICS),
    "interpolation": Option("bicubic", "How frames are resized.", choices=_INTERPOLATIONS),
}
_SEQUENCE = {
    "frame_adapter": Option("image_conv", "Adapter of images that every frame goes through."),
    "frame_options": Option(
        {}, "Options of that adapter, where they differ from what it declares."
    ),
    "bare": Option(False, "Nothing tells when a frame is; the position scheme does."),
}
_TUBELET = {
    "depth": Option(2, "Frames of a block.", minimum=1),
    "patch": Option(8, "Pixels on a side of a block.", minimum=1),
}

ATTRIBUTES = (
    Attribute(
        "frames",
        "int",
        None,
        "most frames; default: option `frames`, 8",
        minimum=1,
        maximum=_MOST_FRAMES,
    ),
    Attribute(
        "fps",
        "float",
        None,
        "frames a second, a window of `frames` of them; default: `frames` of them evenly over the clip",
        minimum=0.01,
    ),
    Attribute(
        "start", "str", None, "second from which frames are taken: a number, or a column with it"
    ),
    Attribute("end", "str", None, "second up to which they are taken, likewise"),
    Attribute(
        "rate",
        "float",
        None,
        "frames a second of clips that do not tell: arrays, lists, folders; default: 25",
        minimum=0.01,
    ),
    Attribute(
        "size",
        "int",
        None,
        "side of the view in pixels; default: option `size`, 64",
        minimum=1,
        maximum=4096,
    ),
    Attribute(
        "pool",
        "int",
        None,
        "most steps in time of the positions: neighbouring frames are averaged",
        minimum=1,
    ),
    Attribute(
        "augment",
        "choice",
        "default",
        "random changes in training, the same for all frames: none; default: moments and crops; flip (default, and"
        " mirrored where left and right do not matter); rand (default, and two of OFA's RandAugment)",
        choices=("none", "default", "flip", "rand"),
    ),
    Attribute(
        "framing",
        "choice",
        None,
        "how frames are cut and changed: as the preprocessor of IMAGE of that name does; default: image",
        choices=_FRAMINGS,
    ),
    Attribute(
        "mean_std",
        "choice",
        None,
        "normalisation of pixels; default: option `mean_std`, half",
        choices=_STATISTICS,
    ),
    Attribute(
        "interpolation",
        "choice",
        None,
        "how frames are resized; default: option `interpolation`, bicubic",
        choices=_INTERPOLATIONS,
    ),
)

MANIFEST = ModalityManifest(
    name="video",
    contract=(2, 0),
    doc="Videos as input.",
    slots=(
        SlotType(
            name="VIDEO",
            doc="A video, or an animation; its sound is not heard.",
            preprocessor="video",
            values="the path or content of a video, GIF or WebP, a folder of pictures, a uint8 array [frames, height,"
            " width(, channels)], a list of pictures, or a dict with 'path', 'bytes' or 'frames', and maybe 'fps',"
            " 'start' and 'end'",
            is_element=is_video,
            attributes=ATTRIBUTES,
            views=("video",),
            sample=f"{_PACKAGE}.sample:clip",
            row_transform=f"{_PACKAGE}.transform:VideoTransform",
            takes_files=True,
            widget="file",
        ),
    ),
    components=(
        Component(
            "preprocessor",
            "video",
            f"{_PACKAGE}.preprocessor:VideoPreprocessor",
            "frames at the moments that are asked for, each as a picture",
            {"adapter": "video_image_sequence"},
            _OPTIONS,
            builds_on=_FRAMINGS,
        ),
        Component(
            "adapter",
            "video_image_sequence",
            f"{_PACKAGE}.adapter:VideoImageSequence",
            "every frame through an adapter of images",
            options=_SEQUENCE,
        ),
        Component(
            "adapter",
            "video_tubelet",
            f"{_PACKAGE}.tubelet:VideoTubelet",
            "linear projection of blocks of pixels over several frames",
            options=_TUBELET,
        ),
    ),
)
