"""What this package adds: the slot type IMAGE, its preprocessors and adapters."""

from __future__ import annotations

from ofa_modality_image.values import is_image
from ofacore.plugin import Attribute, Component, ModalityManifest, SlotType

_PACKAGE = "ofa_modality_image"
_OPTIONS = {"size": 64, "mean_std": "half", "interpolation": "bicubic"}
_STATISTICS = ("half", "imagenet")
_INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
_USES = {"adapter": "image_conv"}
_TOWER = {"pretrained": "", "frozen": False, "drop_path": 0.0}
_GRID = {"grid": 42}
"""Cells on a side of the tables of learned positions, for position schemes that have some."""
_BARE = {"bare": False}
"""Without norm and places of its own, as in the original, where the position scheme says where a cell is."""

ATTRIBUTES = (
    Attribute("size", "int", None, "side of the view in pixels; default: option `size`", minimum=1, maximum=4096),
    Attribute("mask_ratio", "float", 0.0, "share of the area hidden by a square in its centre", minimum=0, maximum=1),
    Attribute("mask_by", "choice", "area", "what `mask_ratio` is a share of: the area, or each side as in OFA",
              choices=("area", "side")),
    Attribute("sample_patches", "int", None, "in training only so many cells of the picture, drawn at random, are kept",
              minimum=1),
    Attribute(
        "augment", "choice", "default",
        "random changes in training: none; default; flip (default, and mirrored where left and right do not matter); "
        "rand (default, and two of OFA's RandAugment, which move pixels: not where boxes follow)",
        choices=("none", "default", "flip", "rand"),
    ),
    Attribute("mean_std", "choice", None, "normalisation of pixels; default: option `mean_std`, half",
              choices=_STATISTICS),
    Attribute("interpolation", "choice", None, "how pictures are resized; default: option `interpolation`, bicubic",
              choices=_INTERPOLATIONS),
    Attribute("depth", "int", None, "bits of a grey value where a file has more than 8 and does not tell",
              minimum=1, maximum=32),
    Attribute("orientation", "choice", "upright", "stored: a picture is not turned as its EXIF orientation says",
              choices=("upright", "stored")),
    Attribute("length", "int", None, "number of codes of a generated picture", sides=("target",), minimum=1),
)  # fmt: skip

COMPONENTS = (
    Component("preprocessor", "image", f"{_PACKAGE}.preprocessor:ImagePreprocessor",
              "whole picture, resized to a square", _USES, _OPTIONS),
    Component("preprocessor", "imagenet", f"{_PACKAGE}.preprocessor:ImagenetPreprocessor",
              "ImageNet recipe: random crop, mirror, colours, erasing; else the central square", _USES, _OPTIONS),
    Component("preprocessor", "imagepretrain", f"{_PACKAGE}.preprocessor:ImagePretrainPreprocessor",
              "enlarged 1 to 1.5 times, central crop, colours", _USES, _OPTIONS),
    Component("adapter", "image_conv", f"{_PACKAGE}.adapter:ImageConv",
              "strided convolutions", options={"channels": 64, "stride": 8, **_GRID}),
    Component("adapter", "image_patch_embed", f"{_PACKAGE}.patch_embed:ImagePatchEmbed",
              "linear projection of patches", options={"patch": 8, "class_token": False, **_GRID, **_BARE}),
    Component("adapter", "image_resnet", f"{_PACKAGE}.resnet:ImageResnet",
              "ResNet trunk up to its third stage, one position for 16 x 16 pixels",
              options={"depth": 50, "freeze_statistics": True, "sync_batch_norm": False, "recompute": False, **_TOWER,
                       **_GRID, **_BARE}),
    Component("adapter", "image_vit", f"{_PACKAGE}.vit:ImageVit",
              "vision transformer on patches: base, large, large-336, huge, or any sizes",
              options={"variant": "", "patch": 16, "width": 384, "layers": 6, "heads": 6, "resolution": 0, **_TOWER,
                       **_GRID, **_BARE}),
    Component("adapter", "image_tower", f"{_PACKAGE}.hf_tower:ImageTower",
              "an image tower of transformers by local path (CLIP, SigLIP, DINOv2, ViT), frozen or learned",
              options={"path": "", "frozen": True, "layer": -1, "class_token": False, "config": {}, "statistics": {},
                       **_GRID, **_BARE}),
)  # fmt: skip

MANIFEST = ModalityManifest(
    name="image",
    contract=(1, 0),
    doc="Pictures as input.",
    slots=(
        SlotType(
            name="IMAGE",
            doc="A picture.",
            preprocessor="image",
            values="a path, bytes, base64 text, a PIL image, a dict with 'bytes' or 'path', a uint8 array [height,"
            " width(, channels)], or a float array [height, width, 3] that is normalised already",
            is_element=is_image,
            attributes=ATTRIBUTES,
            views=("image",),
            sample=f"{_PACKAGE}.sample:picture",
            row_transform=f"{_PACKAGE}.transform:ImageTransform",
            takes_files=True,
            widget="file",
        ),
    ),
    components=COMPONENTS,
)
