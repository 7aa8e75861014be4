"""The conformance kit on this plugin."""

from ofa_kit import MetricConformance, ModalityConformance

PLUGIN = "ofa_modality_structured.manifest:MANIFEST"
TEXT = ("ofa_modality_text.manifest:MANIFEST",)
LOOP: list = []
LOOP.append(LOOP)


class TestStructure(ModalityConformance):
    plugin = PLUGIN
    requires = TEXT
    values = [
        [["name", "age"], ["ann", 31], ["bob", None]],
        {"city": ["oslo", "rome"], "size": [0.7, 2.8]},
        {"table_name": "t", "table_head": ["a", "b"], "table_content": [["x", "y"]]},
    ]
    bad_values = (object(), 7, [], {}, "no_such.csv", LOOP, [["a", "b"], ["c"]], [[{"a": 1}, "b"]])


class TestGrid(TestStructure):
    attributes = "form=grid,level=character"
    values = [[[1, 2], [0, 4]], [[5, 0, 1]]]
    bad_values = (object(), [["a", "b"]], [[1, 2], [3]])


class TestTable(TestStructure):
    attributes = "form=table"
    values = [[["name", "age"], ["ann", "31"], ["bob", ""]], [["one"]]]


class TestSqlMatch(MetricConformance):
    plugin = PLUGIN
    requires = TEXT
    metric = "sql_match"
    references = [f"SELECT a FROM t WHERE b = {number}" for number in range(4)]
    predictions = ["select a from t where b = 0", "SELECT b FROM t", "", "SELECT a FROM t"]
    bounds = (0.0, 1.0)


class TestGridSolved(MetricConformance):
    plugin = PLUGIN
    requires = TEXT
    metric = "grid_solved"
    references = [[[1, 2], [3, 4]], [[2, 1], [4, 3]], [[3, 4], [1, 2]], [[4, 3], [2, 1]]]
    predictions = [[[1, 2], [3, 4]], "no grid", [[3, 4], [1, 1]], None]
    bounds = (0.0, 1.0)


class TestStructureMatch(MetricConformance):
    plugin = PLUGIN
    requires = TEXT
    metric = "structure_match"
    references = [
        {"name": "ann", "age": 31},
        [["a", "b"], ["1", ""]],
        [[1, 2], [3, 4]],
        {"x": None},
    ]
    predictions = ['{"age": 31, "name": "ann"}', [["a", "b"], ["1", ""]], "no table", {"x": 0}]
    perfect = references
    bounds = (0.0, 1.0)


class TestGridCells(TestGridSolved):
    metric = "grid_cells"
    rows = [{"puzzle": [[0, 0], [0, 4]]}, {"puzzle": [[0, 1], [0, 0]]}] * 2


class TestDatabase(TestStructure):
    values = [
        {
            "database": "music",
            "tables": [
                {
                    "table": "singer",
                    "columns": [{"column": "id", "type": "INTEGER", "primary_key": True}],
                },
                {"table": "song", "columns": [{"column": "by", "values": ["Ann"]}]},
            ],
            "foreign_keys": [["song.by", "singer.id"]],
        }
    ]
    bad_values = ({"database": "music", "tables": [{}]}, b"SQLite format 3\0 and no more")


class TestAbsoluteError(MetricConformance):
    plugin = PLUGIN
    requires = TEXT
    metric = "absolute_error"
    references = [1.5, "2", -3, 40]
    predictions = ["1.5", "3", "none", "39"]
    bounds = (0.0, float("inf"))
