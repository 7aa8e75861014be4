"""The contract as plugins import it: every public name of `ofacore.contract`.

Nothing here imports torch; tensors appear in annotations only. `Artifact`, `Vocabulary`, `Block` and the ids of the
core tokens are public through this module too. One sample's way through these types::

    row --Preprocessor.encode--> TokenSegment | DenseSegment --runs--> Piece --collate--> Batch
        --Adapter.embed--> states [N, H] --backbone--> hidden --Head--> prediction --Criterion--> Loss

States of a micro-batch are one flat stream ``[N, H]``: N is the number of real positions of all samples, so no linear
layer ever sees padding. Attention works on ``Layout.rows``, index matrices into that stream.
"""

from __future__ import annotations

from ofacore.contract.backbone import (
    AddedPositions,
    AttentionBackbone,
    Backbone,
    BackboneConfig,
    BackboneContext,
    CachedBackbone,
    CollectiveBackbone,
    DecodeCache,
    ExpertBackbone,
    Router,
    Routes,
    ShardedBackbone,
    StagedBackbone,
)
from ofacore.contract.batch import AdapterCall, Batch, BatchSide, Layout, SampleInfo, TermGroup
from ofacore.contract.decoding import (
    DecodeSession,
    Generator,
    Hypothesis,
    Produced,
    RequestCheck,
    RowRequest,
)
from ofacore.contract.foreign import ForeignConstants
from ofacore.contract.judging import Metric
from ofacore.contract.learning import (
    Aggregator,
    AggregatorContext,
    AttentionCriterion,
    Criterion,
    CriterionContext,
    Loss,
    LossWeighing,
    Record,
    Schedule,
    ScheduleContext,
    TaskShare,
    Tracker,
)
from ofacore.contract.members import seen_as
from ofacore.contract.modules import (
    Adapter,
    BuildContext,
    Head,
    HeadContext,
    ModuleFactory,
    PositionGrid,
    Upgradable,
)
from ofacore.contract.positions import (
    AttentionPlace,
    Positions,
    PositionsContext,
    PositionsCost,
    PositionsWeight,
    PositionView,
    RelativeBias,
    Stack,
)
from ofacore.contract.preprocessing import (
    AsCompared,
    AsDecoded,
    BuiltOnOthers,
    ColumnFitting,
    Corruption,
    FileWriting,
    JointRenderer,
    MeasureRow,
    Neighbour,
    Neighbours,
    Preprocessor,
    RowLengths,
    RowTransform,
    SlotFitting,
    WholeRowTransform,
)
from ofacore.contract.segments import (
    DenseSegment,
    Example,
    Piece,
    Segment,
    TargetSpec,
    TermItem,
    TokenSegment,
)
from ofacore.contract.values import Options, Published, RowContext, RowError, SlotPlan, Split
from ofacore.ground.artifacts import Artifact
from ofacore.ground.excerpts import excerpt, listing
from ofacore.ground.vocabulary import BOS, EOS, MASK, PAD, SEP, UNK, Block, Vocabulary
from ofacore.plugin.manifest import Side

__all__ = [
    "BOS",
    "EOS",
    "MASK",
    "PAD",
    "SEP",
    "UNK",
    "Adapter",
    "AdapterCall",
    "AddedPositions",
    "Aggregator",
    "AggregatorContext",
    "Artifact",
    "AsCompared",
    "AsDecoded",
    "AttentionBackbone",
    "AttentionCriterion",
    "AttentionPlace",
    "Backbone",
    "BackboneConfig",
    "BackboneContext",
    "Batch",
    "BatchSide",
    "Block",
    "BuildContext",
    "BuiltOnOthers",
    "CachedBackbone",
    "CollectiveBackbone",
    "ColumnFitting",
    "Corruption",
    "Criterion",
    "CriterionContext",
    "DecodeCache",
    "DecodeSession",
    "DenseSegment",
    "Example",
    "ExpertBackbone",
    "FileWriting",
    "ForeignConstants",
    "Generator",
    "Head",
    "HeadContext",
    "Hypothesis",
    "JointRenderer",
    "Layout",
    "Loss",
    "LossWeighing",
    "MeasureRow",
    "Metric",
    "ModuleFactory",
    "Neighbour",
    "Neighbours",
    "Options",
    "Piece",
    "PositionGrid",
    "PositionView",
    "Positions",
    "PositionsContext",
    "PositionsCost",
    "PositionsWeight",
    "Preprocessor",
    "Produced",
    "Published",
    "Record",
    "RequestCheck",
    "RelativeBias",
    "Router",
    "Routes",
    "RowContext",
    "RowError",
    "RowLengths",
    "RowRequest",
    "RowTransform",
    "SampleInfo",
    "Schedule",
    "ScheduleContext",
    "Segment",
    "ShardedBackbone",
    "Side",
    "SlotFitting",
    "SlotPlan",
    "Split",
    "Stack",
    "StagedBackbone",
    "TargetSpec",
    "TaskShare",
    "TermGroup",
    "TermItem",
    "TokenSegment",
    "Tracker",
    "Upgradable",
    "Vocabulary",
    "WholeRowTransform",
    "excerpt",
    "listing",
    "seen_as",
]
