"""What a component may know of checkpoints of other projects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ofacore.contract.values import Options
from ofacore.ground.artifacts import Artifact


@runtime_checkable
class ForeignTokens(Protocol):
    """What a `Preprocessor` with tokens may offer besides, so that models of other projects can be imported with it.

    Other projects keep all tokens in one dictionary. Ours stand in blocks, so every token is found there by name, never
    by its place.
    """

    def import_files(self, folder: Path, names: Sequence[str]) -> Artifact | None:
        """What `Preprocessor.fit` would have made, from what another project left; None if nothing is needed.

        Args:
            folder: Where its vocabulary files are, such as ``vocab.json`` and ``merges.txt``.
            names: Every name of the model's dictionary, in its order; empty for core tokens and rows without a name.

        Raises:
            PluginError: Files are needed and not there, or damaged; names what was found and what was expected.
        """

    def foreign_names(self, artifact: Artifact | None) -> Mapping[str, Sequence[tuple[str, ...]]]:
        """Block name -> for each of its tokens, in order, the names that dictionaries of other projects have for it.

        An empty tuple: no other project has such a token.
        """


@runtime_checkable
class ForeignSettings(Protocol):
    """What a `Preprocessor` may offer besides: its options, from the settings that it has in another project.

    An import tells of every setting that was neither asked for nor is one of `ForeignConstants`.
    """

    @staticmethod
    def foreign_settings(settings: Mapping[str, Any]) -> Options:
        """Options that the settings of another project's preprocessor of the same name mean.

        Raises:
            TypeError, ValueError: A setting has an impossible value.
        """


class ForeignConstants(Protocol):
    """What a `Preprocessor` may offer besides: settings of another project that always have one value here."""

    foreign_fixed: Mapping[str, Any] = {}
    """Setting -> value."""


@runtime_checkable
class ForeignAdapter(Protocol):
    """What an `Adapter` may offer besides, so that models of other projects can be imported with it.

    With the options that it gives, its parameters have the names that they have there, behind the adapter's.
    """

    @staticmethod
    def foreign_options(
        shapes: Mapping[str, tuple[int, ...]], settings: Mapping[str, Any]
    ) -> Options:
        """Options, from the shapes of the adapter's tensors in the other project and its settings there."""
