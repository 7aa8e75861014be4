"""What this package adds: the slot type MOTION and everything that serves it."""

from __future__ import annotations

from ofa_modality_motion.options import DIFFUSION_OPTIONS
from ofa_modality_motion.values import is_motion
from ofacore.plugin import Attribute, Component, ModalityManifest, Option, SlotType

_PACKAGE = "ofa_modality_motion"
_WIDTH = {"max_dim": Option(256, "Most numbers of a frame.", minimum=1)}
_HEADER = Option("", "BVH file whose skeleton gives meaning to clips that come without one.")
_SCALES = {
    "scale_main_loss": Option(1.0, "Factor on the squared error of frames.", minimum=0),
    "scale_aux_loss_1": Option(0.0, "Factor on that of velocities.", minimum=0),
    "scale_aux_loss_2": Option(0.0, "Factor on that of accelerations.", minimum=0),
}
_LABEL = Option("label", "Column that holds the label of a clip.")
_USES = {
    "adapter": "motion",
    "head": "motion",
    "criterion": "diffusion",
    "generator": "diffusion",
    "corruption": "diffusion",
}

ATTRIBUTES = (
    Attribute("max_length", "int", 64, "most frames; the rest is cut off", minimum=1),
    Attribute("min_length", "int", 10, "fewest frames of a usable clip; 0 accepts all", minimum=0),
    Attribute("sample_rate", "float", None, "frames per second to resample to", minimum=0.01),
    Attribute(
        "soft_trim",
        "float",
        None,
        "share of frames dropped at the ends, at random, in training",
        minimum=0,
        maximum=1,
    ),
    Attribute(
        "window",
        "flag",
        False,
        "max_length frames from anywhere in training, from the middle otherwise",
    ),
    Attribute("anchor_frame", "int", None, "frame whose root becomes the origin", minimum=0),
    Attribute(
        "inbetween",
        "str",
        None,
        "frames of past/missing/next, such as 10/5-40/1: fill in the missing ones",
        sides=("target",),
    ),
    Attribute(
        "length",
        "str",
        None,
        "frames to produce: a number, or a column that holds it",
        sides=("target",),
    ),
    Attribute(
        "dims",
        "int",
        None,
        "numbers a frame, those to produce too: a clip of another size is an error",
        minimum=1,
    ),
)

COMPONENTS = (
    Component(
        "preprocessor",
        "motion",
        f"{_PACKAGE}.preprocessor:MotionPreprocessor",
        "frames as they are, normalised",
        _USES,
        _WIDTH,
    ),
    Component(
        "preprocessor",
        "motion_6d",
        f"{_PACKAGE}.preprocessor:Motion6dPreprocessor",
        "root place, root velocity, 6-D rotations of a BVH skeleton",
        _USES,
        {**_WIDTH, "bvh_header": _HEADER},
    ),
    Component(
        "adapter",
        "motion",
        f"{_PACKAGE}.adapter:MotionAdapter",
        "MLP and noise level",
        options=_WIDTH,
    ),
    Component("head", "motion", f"{_PACKAGE}.head:MotionHead", "clean frames", options=_WIDTH),
    Component(
        "corruption",
        "diffusion",
        f"{_PACKAGE}.noise:DiffusionCorruption",
        "noise of a random level",
    ),
    Component(
        "criterion",
        "diffusion",
        f"{_PACKAGE}.criterion:DiffusionCriterion",
        "squared error to the clean sample",
        options=_SCALES,
    ),
    Component(
        "generator",
        "diffusion",
        f"{_PACKAGE}.generator:DiffusionGenerator",
        "sampling by schedulers of diffusers",
        options=DIFFUSION_OPTIONS,
    ),
    Component(
        "metric",
        "motion_mse",
        f"{_PACKAGE}.metrics:MotionMse",
        "mean squared error over shared frames",
    ),
    Component(
        "metric",
        "motion_retrieval",
        f"{_PACKAGE}.metrics:MotionRetrieval",
        "label of the nearest real clip",
        options={"label": _LABEL},
    ),
)

MANIFEST = ModalityManifest(
    name="motion",
    contract=(2, 0),
    doc="Motion clips: input, and output by diffusion.",
    slots=(
        SlotType(
            name="MOTION",
            doc="A motion clip: numbers for every frame.",
            preprocessor="motion",
            values="an array [frames, dims], a path ending in .npy, .npz or .bvh or the content of such a file, or a"
            " dict with 'frames'",
            is_element=is_motion,
            attributes=ATTRIBUTES,
            views=("motion",),
            sample=f"{_PACKAGE}.sample:clip",
            takes_files=True,
            widget="file",
            saved_as=".npy",
            default_metrics={"": "motion_mse"},
        ),
    ),
    components=COMPONENTS,
)
