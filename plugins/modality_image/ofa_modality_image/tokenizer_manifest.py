"""The command ``ofa train-tokenizer``."""

from ofacore.plugin import CommandManifest

COMMAND = CommandManifest(
    "train-tokenizer",
    (2, 0),
    "ofa_modality_image.tokenizer_command:train_tokenizer",
    "Train a codec of pictures, for pictures as codes.",
)
