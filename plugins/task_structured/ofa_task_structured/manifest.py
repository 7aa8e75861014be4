"""Task presets on structures: SQL from questions, text from triples and tables, sudoku, classes of rows."""

from __future__ import annotations

from ofa_task_structured.transforms import TRANSFORMS
from ofacore.plugin import MetricUse, TaskManifest, TaskPreset

_DATA = "ofa_task_structured.data"
_GRID = "form=grid,level=character"
_ROWS = "rows of whole numbers, or a text such as `1 : 0 | 0 : 1` or `1001`; 0 or `.` is a blank"
_TEXT_GENERATION = {"strategy": "beam", "beam": 5, "max_length": 128}

WITH_DATA = (
    TaskPreset(
        "sudoku",
        (f"[STRUCT:puzzle,{_GRID}] . solve the sudoku . -> [STRUCT:solution,{_GRID}]",),
        "Sudoku of any size; the data it comes with are of 4 by 4, with five to eight blanks",
        {"puzzle": _ROWS, "solution": "the grid without blanks, in the same form"},
        transforms={"puzzle": ("digit_grid",), "solution": ("digit_grid",)},
        metrics=(
            MetricUse("grid_solved", "solution"),
            MetricUse("grid_cells", "solution", {"puzzle": "puzzle"}),
        ),
        generation={"max_length": 384},
        data=f"{_DATA}.sudoku:build",
        baseline=f"{_DATA}.sudoku:baseline",
        baseline_doc="what the row lacks",
    ),
    TaskPreset(
        "row_classification",
        ("[STRUCT:row,numbers=bins] what class is it? -> [TEXT:class,closed_set]",),
        "Class of one row of a table; the data it comes with are wines and tumours",
        {
            "row": "a dict, column name -> cell",
            "class": "name of the class; without a closed set those of the training rows",
        },
        metrics=(MetricUse("accuracy", "class"),),
        data=f"{_DATA}.rows:build",
        baseline=f"{_DATA}.rows:baseline",
        baseline_doc="majority",
        weight=0.4,
        starter=True,
    ),
    TaskPreset(
        "row_regression",
        ("[STRUCT:row,numbers=digits] what number belongs to it? -> [TEXT:value,level=character]",),
        "A number that belongs to a row of a table; the data it comes with are patients",
        {"row": "a dict, column name -> cell", "value": "the number"},
        metrics=(MetricUse("absolute_error", "value"),),
        generation={"max_length": 16},
        data=f"{_DATA}.progress:build",
        baseline=f"{_DATA}.progress:baseline",
        baseline_doc="mean",
    ),
)

PLAIN = (
    TaskPreset(
        "column_type",
        (
            "[STRUCT:column,form=table,max_rows=16] what do these cells hold? -> [TEXT:type,closed_set]",
        ),
        "What kind of thing the cells of a column are, such as names of towns",
        {
            "column": "a dict of one column, name -> list of cells, or a list of rows of one cell",
            "type": "name of the kind; without a closed set those of the training rows",
        },
        metrics=(MetricUse("accuracy", "type"),),
    ),
    TaskPreset(
        "text_to_sql",
        (
            '" [TEXT:src] " ; structured knowledge: " [STRUCT:database,question=src,max_length=876] "'
            " . generating sql code. -> [TEXT:tgt]",
        ),
        "SQL from a question about a database, as of Spider",
        {
            "src": "a question",
            "database": "path of an SQLite file, or a name, `db_id` of Spider: option `folder` of the"
            " transform `sqlite_path` says where its file is",
            "tgt": "the query; learned in small letters except between quotation marks",
        },
        transforms={"src": ("lower",), "database": ("sqlite_path",), "tgt": ("lower_sql",)},
        metrics=(
            MetricUse("sql_match", "tgt"),
            MetricUse("execution_accuracy", "tgt", {"database": "database"}),
        ),
        generation={"strategy": "beam", "beam": 5, "max_length": 256},
    ),
    TaskPreset(
        "table_to_text",
        (
            'structured knowledge: " [STRUCT:database,uncased] " . how to describe the tripleset ?'
            " -> [TEXT:tgt]",
        ),
        "A text that says what triples hold, as of DART",
        {
            "database": "triples: a list of lists of three, or a text `a : b : c | d : e : f`",
            "tgt": "a text; of several, joined by `&&` or in a list, the first is learned",
            "references": "all texts that are right, joined or in a list, for evaluation",
        },
        transforms={
            "database": ("triples",),
            "tgt": ("first_reference",),
            "references": ("split_references",),
        },
        metrics=(MetricUse("bleu", "tgt", references="references"),),
        generation=_TEXT_GENERATION,
    ),
    TaskPreset(
        "table_qa",
        (
            'structured knowledge: "( [TEXT:title] :)? [STRUCT:database] "'
            ' . what is the answer of the question " [TEXT:src] " ? -> [TEXT:tgt]',
        ),
        "A sentence that answers a question about a table, as of FeTaQA",
        {
            "database": "a table, or a text `[table name] a [table head] b : c [table content] d : e`",
            "src": "a question",
            "tgt": "the answer",
            "title": "what the table is about; may be absent",
        },
        transforms={"database": ("marked_table",)},
        metrics=(MetricUse("bleu", "tgt"),),
        generation=_TEXT_GENERATION,
    ),
)

MANIFEST = TaskManifest(
    "structured",
    (2, 0),
    WITH_DATA + PLAIN,
    TRANSFORMS,
    "Tasks on tables, triples, grids and databases.",
)
