"""What this plugin offers: the slot type STRUCT, the preprocessor `structure`, metrics of SQL, grids and numbers."""

from __future__ import annotations

from ofa_modality_structured.recognition import is_structure
from ofacore.plugin import Attribute, Component, ModalityManifest, Option, SlotType

_ATTRIBUTES = (
    Attribute(
        "form",
        "choice",
        choices=("json", "table", "database", "grid"),
        doc="How it is written; default: `json` in the target, in the source what suits the value.",
    ),
    Attribute(
        "question",
        "slot",
        doc="The slot whose text is looked for in the cells of a database; default: no cells are written.",
    ),
    Attribute(
        "max_values",
        "int",
        default=2,
        minimum=0,
        doc="At most this many cell values of each column of a database, the longest first.",
    ),
    Attribute("types", doc="A database with the declared types of its columns."),
    Attribute("keys", doc="A database with its primary and foreign keys behind its tables."),
    Attribute(
        "max_rows",
        "int",
        minimum=1,
        sides=("source",),
        doc="Only the first rows of a table are written; a head does not count.",
    ),
    Attribute(
        "numbers",
        "choice",
        default="text",
        choices=("text", "digits", "bins", "continuous"),
        sides=("source",),
        doc="How a table's numbers are read: as text; digit by digit; as the bin of their column they fall into; or "
        "`continuous`, with `adapter=structure_cells`, as a vector made of the number itself.",
    ),
    Attribute(
        "col_type",
        "str",
        doc="How `table` cleans each column, parted by `:`: `c` a cell, `k` a key, as in `col_type='c:k:c'`.",
    ),
    Attribute(
        "max_length",
        "int",
        minimum=1,
        doc="Longer ones are cut to this many tokens; at inference no more are generated.",
    ),
    Attribute(
        "min_length",
        "int",
        minimum=0,
        sides=("target",),
        doc="At inference at least this many tokens are generated.",
    ),
    Attribute("uncased", doc="In lower case; the form `table` always is."),
    Attribute(
        "level",
        "choice",
        default="bpe",
        choices=("bpe", "character"),
        doc="`character` keeps letters and digits apart, for grids and numbers.",
    ),
    Attribute(
        "mask_ratio",
        "float",
        minimum=0.0,
        maximum=1.0,
        sides=("source",),
        doc="In training this share of the tokens is masked.",
    ),
    Attribute(
        "noise_ratio",
        "float",
        minimum=0.0,
        maximum=1.0,
        sides=("target",),
        doc="In training this share of what the decoder reads is replaced by random tokens.",
    ),
    Attribute("disable_auto_boseos", doc="No `<bos>` and `<eos>` around the run of tokens."),
)

_USES = {"adapter": "token", "head": "token", "criterion": "cross_entropy", "generator": "token"}
_METRICS = "ofa_modality_structured.metrics"
_FOLDER = Option("", "Where relative paths are looked for behind the working directory.")
_PUZZLE = Option("puzzle", "Column that holds the grid with its blanks, each written as 0.")

MANIFEST = ModalityManifest(
    name="structured",
    contract=(2, 0),
    doc="Tables, records, triples, grids and databases, written with the tokens of text.",
    slots=(
        SlotType(
            name="STRUCT",
            doc="A table, record, set of triples, grid of whole numbers, or database.",
            preprocessor="structure",
            values="a list of rows, a list of dicts, a dict of columns, one dict, a dict with `table_content`, a data "
            "frame, JSON text, or the path or content of a CSV, JSON or SQLite file",
            is_element=is_structure,
            attributes=_ATTRIBUTES,
            views=("structure",),
            sample="ofa_modality_structured.sample:table",
            widget="text",
            default_metrics={"": "structure_match"},
        ),
    ),
    components=(
        Component(
            "preprocessor",
            "structure",
            "ofa_modality_structured.preprocessor:StructurePreprocessor",
            "One text in the form of the slot, with the tokens of `text`.",
            _USES,
            {
                "folder": _FOLDER,
                "bins": Option(64, "Most bins of a column with `numbers=bins`.", minimum=2),
            },
            builds_on=("text",),
        ),
        Component(
            "adapter",
            "structure_cells",
            "ofa_modality_structured.cells_adapter:CellsAdapter",
            "tokens of text, and numbers by an MLP over periodic features",
        ),
        Component(
            "metric",
            "execution_accuracy",
            f"{_METRICS}.execution:ExecutionAccuracy",
            "share of SQL queries that give the rows of the reference",
            options={
                "database": Option("database", "Column that holds the path of the SQLite file."),
                "file": Option("", "One SQLite file for all rows; empty: the column says which."),
                "folder": _FOLDER,
                "seconds": Option(5.0, "Longest time of one query.", minimum=0.01),
                "max_rows": Option(10_000, "Most rows that a query may give.", minimum=1),
            },
        ),
        Component(
            "metric",
            "sql_match",
            f"{_METRICS}.sql_match:SqlMatch",
            "share of SQL queries whose clauses are those of the reference",
        ),
        Component(
            "metric",
            "absolute_error",
            f"{_METRICS}.numbers:AbsoluteError",
            "mean distance of numbers from their references",
        ),
        Component(
            "metric",
            "structure_match",
            f"{_METRICS}.structures:StructureMatch",
            "share of tables, records and grids that are right in every cell",
        ),
        Component(
            "metric",
            "grid_solved",
            f"{_METRICS}.grids:GridSolved",
            "share of grids that are right in every cell",
        ),
        Component(
            "metric",
            "grid_cells",
            f"{_METRICS}.grids:GridCells",
            "share of a grid's blank cells that are right",
            options={"puzzle": _PUZZLE},
        ),
    ),
)
