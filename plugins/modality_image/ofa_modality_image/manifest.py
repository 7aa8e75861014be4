"""What this package adds: the slot type IMAGE and everything that reads and writes it."""

from __future__ import annotations

from dataclasses import replace

from ofa_modality_image.values import is_image
from ofacore.plugin import Attribute, Component, ModalityManifest, Option, SlotType

_PACKAGE = "ofa_modality_image"
_STATISTICS = ("half", "imagenet")
_INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
_OPTIONS = {
    "size": Option(64, "Side of the view in pixels.", minimum=1, maximum=4096),
    "mean_std": Option("half", "Normalisation of pixels.", choices=_STATISTICS),
    "interpolation": Option("bicubic", "How pictures are resized.", choices=_INTERPOLATIONS),
}
_USES = {"adapter": "image_conv"}
_FLOW_USES = {
    "adapter": "image_flow",
    "head": "image_flow",
    "criterion": "image_flow",
    "generator": "image_flow",
    "corruption": "image_flow",
}
_CODES_USES = {
    "adapter": "image_vqgan",
    "head": "token",
    "criterion": "cross_entropy",
    "generator": "token",
}
_CODEC = {
    "path": Option(
        "",
        "Folder of a codec: of `ofa train-tokenizer`, or a VQModel of diffusers; empty: train one.",
    ),
    "factor": Option(4, "Of a codec trained here: pixels on a side of a code's cell.", minimum=2),
    "quantiser": Option(
        "fsq", "And what codes are: finite scalars, or a learned codebook.", choices=("fsq", "vq")
    ),
    "levels": Option([8, 5, 5, 5], "fsq: levels of each number of a code."),
    "codebook": Option(1024, "vq: vectors of the codebook.", minimum=2),
    "commitment": Option(0.25, "vq: how strongly latents are held near their vectors.", minimum=0),
    "width": Option(64, "Channels of its layers.", minimum=8),
    "fit_steps": Option(600, "Steps that it is trained.", minimum=1),
    "fit_passes": Option(20, "Most passes over the pictures.", minimum=1),
    "fit_pictures": Option(4096, "Most pictures that it is trained on.", minimum=1),
}
_MASKGIT = {
    "steps": Option(8, "Steps until no code is hidden.", minimum=1, maximum=10_000),
    "code_temperature": Option(1.0, "Of the codes that are drawn; 0: the likeliest.", minimum=0),
    "choice_temperature": Option(4.5, "Chance in which codes are kept.", minimum=0),
    "order": Option(
        "confidence", "Which codes are kept first.", choices=("confidence", "random", "raster")
    ),
    "guidance": Option(1.0, "Scale of classifier-free guidance; 1: off.", minimum=0, maximum=1e3),
    "n_best": Option(1, "Number of pictures that are drawn.", minimum=1, maximum=100_000),
}
_FLOW_PATCH = {"patch": Option(8, "Pixels on a side of a patch.", minimum=1)}
_FLOW_GENERATION = {
    "steps": Option(25, "Steps from noise to picture.", minimum=1, maximum=1000),
    "guidance": Option(1.0, "Scale of classifier-free guidance; 1: off.", minimum=0, maximum=1e3),
    "n_best": Option(1, "Number of pictures that are drawn.", minimum=1, maximum=100_000),
}
_TOWER = {
    "pretrained": Option("", "File of weights to begin with."),
    "frozen": Option(False, "Its weights are not trained."),
    "drop_path": Option(
        0.0,
        "Probability of skipping a block, rising to this at the last one.",
        minimum=0,
        maximum=1,
    ),
}
_GRID = {
    "grid": Option(
        42,
        "Cells on a side of the tables of learned positions, for position schemes that have some.",
        minimum=1,
    ),
}
_BARE = {
    "bare": Option(
        False,
        "Without norm and places of its own, as in OFA; the position scheme says where a cell is.",
    ),
}
_CLASS_TOKEN = {
    "class_token": Option(False, "A position for the whole picture goes before the patches.")
}
_CONV = {
    "channels": Option(64, "Channels of the last convolution.", minimum=1),
    "stride": Option(8, "Pixels on a side of the square that becomes one position.", minimum=1),
}
_PATCH = {"patch": Option(8, "Pixels on a side of a patch.", minimum=1)}
_RESNET = {
    "depth": Option(50, "Layers of the ResNet.", choices=(50, 101, 152)),
    "freeze_statistics": Option(True, "Batch normalisation keeps the statistics that it has."),
    "sync_batch_norm": Option(
        False, "Data ranks learn the statistics of batch normalisation together."
    ),
    "recompute": Option(
        False, "Recompute activations in the backward pass: less memory, more time."
    ),
}
_VIT = {
    "variant": Option(
        "",
        "Named sizes; empty: the options below.",
        choices=("", "base", "large", "large-336", "huge"),
    ),
    "patch": Option(16, "Pixels on a side of a patch.", minimum=1),
    "width": Option(384, "Width of the layers.", minimum=1),
    "layers": Option(6, "Layers.", minimum=1),
    "heads": Option(6, "Attention heads.", minimum=1),
    "resolution": Option(
        0, "Pixels on a side that the table of positions is for; 0: 14 patches.", minimum=0
    ),
}
_HF_TOWER = {
    "path": Option("", "Folder with config.json and weights, as `save_pretrained` writes it."),
    "frozen": Option(True, "Its weights are not trained."),
    "layer": Option(
        -1, "Layer whose states are taken, from 0, the embeddings; -1: the last, behind its norm."
    ),
    **_CLASS_TOKEN,
    "config": Option(
        {}, "Settings of the tower, in place of those at `path`; a saved model holds them."
    ),
    "statistics": Option({}, "`mean` and `std` of RGB in 0 to 1, in place of those at `path`."),
}

ATTRIBUTES = (
    Attribute(
        "size",
        "int",
        None,
        "side of the view in pixels; default: option `size`",
        minimum=1,
        maximum=4096,
    ),
    Attribute(
        "mask_ratio",
        "float",
        0.0,
        "share of the area hidden by a square in its centre",
        minimum=0,
        maximum=1,
    ),
    Attribute(
        "mask_by",
        "choice",
        "area",
        "what `mask_ratio` is a share of: the area, or each side as in OFA",
        choices=("area", "side"),
    ),
    Attribute(
        "sample_patches",
        "int",
        None,
        "in training only so many cells of the picture, drawn at random, are kept",
        minimum=1,
    ),
    Attribute(
        "augment",
        "choice",
        "default",
        "random changes in training: none; default; flip (default, and mirrored where left and right do not matter); "
        "rand (default, and two of OFA's RandAugment, which move pixels: not where boxes follow)",
        choices=("none", "default", "flip", "rand"),
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
        "how pictures are resized; default: option `interpolation`, bicubic",
        choices=_INTERPOLATIONS,
    ),
    Attribute(
        "depth",
        "int",
        None,
        "bits of a grey value where a file has more than 8 and does not tell",
        minimum=1,
        maximum=32,
    ),
    Attribute(
        "orientation",
        "choice",
        "upright",
        "stored: a picture is not turned as its EXIF orientation says",
        choices=("upright", "stored"),
    ),
    Attribute(
        "grey",
        "flag",
        False,
        "without its colours",
        sides=("source",),
    ),
    Attribute(
        "inpaint",
        "str",
        None,
        "what is to be written, the rest is given by the row's own picture: a share of the area, a square in its"
        " centre; or a column with a picture that is white there",
        sides=("target",),
    ),
    Attribute(
        "length",
        "int",
        None,
        "number of patches or codes of a generated picture, as a check",
        sides=("target",),
        minimum=1,
    ),
)

COMPONENTS = (
    Component(
        "preprocessor",
        "image",
        f"{_PACKAGE}.preprocessor:ImagePreprocessor",
        "whole picture, resized to a square",
        _USES,
        _OPTIONS,
    ),
    Component(
        "preprocessor",
        "imagenet",
        f"{_PACKAGE}.preprocessor:ImagenetPreprocessor",
        "ImageNet recipe: random crop, mirror, colours, erasing; else the central square",
        _USES,
        _OPTIONS,
    ),
    Component(
        "preprocessor",
        "imagepretrain",
        f"{_PACKAGE}.preprocessor:ImagePretrainPreprocessor",
        "enlarged 1 to 1.5 times, central crop, colours",
        _USES,
        _OPTIONS,
    ),
    Component(
        "preprocessor",
        "image_flow",
        f"{_PACKAGE}.flow_preprocessor:FlowPreprocessor",
        "patches of pixels, written by flow",
        _FLOW_USES,
        {**_OPTIONS, "patch": replace(_FLOW_PATCH["patch"], shared=True)},
    ),
    Component(
        "adapter",
        "image_flow",
        f"{_PACKAGE}.flow_model:FlowAdapter",
        "MLP on patches, and how much noise is in them",
        options={**_FLOW_PATCH, **_GRID},
    ),
    Component(
        "head",
        "image_flow",
        f"{_PACKAGE}.flow_model:FlowHead",
        "clean patches",
        options=_FLOW_PATCH,
    ),
    Component(
        "corruption",
        "image_flow",
        f"{_PACKAGE}.flow_learning:FlowCorruption",
        "a point between noise and picture",
    ),
    Component(
        "criterion",
        "image_flow",
        f"{_PACKAGE}.flow_learning:FlowCriterion",
        "squared error of the velocity",
    ),
    Component(
        "generator",
        "image_flow",
        f"{_PACKAGE}.flow_generator:FlowGenerator",
        "from noise to a picture",
        options=_FLOW_GENERATION,
    ),
    Component(
        "preprocessor",
        "image_vqgan",
        f"{_PACKAGE}.codes_preprocessor:CodesPreprocessor",
        "a grid of codes by a codec: one after the other, or filled in",
        _CODES_USES,
        {**_OPTIONS, **_CODEC},
    ),
    Component(
        "adapter",
        "image_vqgan",
        f"{_PACKAGE}.codes_model:CodesAdapter",
        "embedding of codes, and the places of their cells",
        options=_GRID,
    ),
    Component(
        "corruption",
        "masked_codes",
        f"{_PACKAGE}.masked_codes:MaskedCodes",
        "hides a random share of the codes",
    ),
    Component(
        "generator",
        "maskgit",
        f"{_PACKAGE}.maskgit:MaskgitGenerator",
        "fills in all codes in a few steps",
        options=_MASKGIT,
    ),
    Component(
        "metric",
        "psnr",
        f"{_PACKAGE}.metrics:Psnr",
        "peak signal-to-noise ratio in dB",
    ),
    Component(
        "metric",
        "ssim",
        f"{_PACKAGE}.metrics:Ssim",
        "structural similarity",
    ),
    Component(
        "metric",
        "image_retrieval",
        f"{_PACKAGE}.retrieval:ImageRetrieval",
        "is a picture's own reference among the nearest",
        options={"k": Option(10, "How many of the nearest references count.", minimum=1)},
    ),
    Component(
        "metric",
        "image_class",
        f"{_PACKAGE}.retrieval:ImageClass",
        "do the nearest references belong to the class that was asked for",
        options={
            "column": Option("label", "Column of the classes."),
            "k": Option(5, "How many of the nearest references vote.", minimum=1),
        },
    ),
    Component(
        "metric",
        "clip_ti",
        f"{_PACKAGE}.clip_ti:ClipTi",
        "agreement with the caption by a local encoder",
        options={
            "path": Option("", "Folder of a CLIP or SigLIP of transformers, with its processor."),
            "caption": Option("text", "Column of the captions."),
        },
    ),
    Component(
        "metric",
        "fid",
        f"{_PACKAGE}.fid:Fid",
        "distance of all written pictures from all references (Fréchet), by Inception or a local encoder",
        options={
            "path": Option("", "Folder of an image encoder of transformers; empty: Inception."),
            "weights": Option("", "File of Inception's weights; empty: where torch keeps them."),
        },
    ),
    Component(
        "adapter",
        "image_conv",
        f"{_PACKAGE}.adapter:ImageConv",
        "strided convolutions",
        options={**_CONV, **_GRID},
    ),
    Component(
        "adapter",
        "image_patch_embed",
        f"{_PACKAGE}.patch_embed:ImagePatchEmbed",
        "linear projection of patches",
        options={**_PATCH, **_CLASS_TOKEN, **_GRID, **_BARE},
    ),
    Component(
        "adapter",
        "image_resnet",
        f"{_PACKAGE}.resnet:ImageResnet",
        "ResNet trunk up to its third stage, one position for 16 x 16 pixels",
        options={**_RESNET, **_TOWER, **_GRID, **_BARE},
    ),
    Component(
        "adapter",
        "image_vit",
        f"{_PACKAGE}.vit:ImageVit",
        "vision transformer on patches: base, large, large-336, huge, or any sizes",
        options={**_VIT, **_TOWER, **_GRID, **_BARE},
    ),
    Component(
        "adapter",
        "image_tower",
        f"{_PACKAGE}.hf_tower:ImageTower",
        "an image tower of transformers by local path (CLIP, SigLIP, DINOv2, ViT), frozen or learned",
        options={**_HF_TOWER, **_GRID, **_BARE},
    ),
)

MANIFEST = ModalityManifest(
    name="image",
    contract=(2, 0),
    doc="Pictures as input, and as output by flow or by codes.",
    slots=(
        SlotType(
            name="IMAGE",
            doc="A picture.",
            preprocessor="image",
            target_preprocessor="image_flow",
            values="a path, bytes, base64 text, a PIL image, a dict with 'bytes' or 'path', a uint8 array [height,"
            " width(, channels)], or a float array [height, width, 3] that is normalised already",
            is_element=is_image,
            attributes=ATTRIBUTES,
            views=("image",),
            sample=f"{_PACKAGE}.sample:picture",
            row_transform=f"{_PACKAGE}.transform:ImageTransform",
            takes_files=True,
            widget="file",
            saved_as=".png",
            default_metrics={"": "psnr"},
        ),
    ),
    components=COMPONENTS,
)
