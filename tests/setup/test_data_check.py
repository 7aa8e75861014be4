"""`check_data` shows the first rows as the model sees them and names every bad one."""

from ofacore.setup.data_check import check_data, encoded_rows
from ofacore.sources import open_source
from ofacore.sources.data_errors import BadRow
from tests.batching.toy import encoder


def report(folder, limit=0):
    path = folder / "x.csv"
    path.write_text('a,t\nhi,ab\nHI,ab\n<b>x</b>,a\nyo,"a,b"\nyo\nok,c\n')
    made = encoder("say [WORD:a] -> [WORD:t]")
    return path, check_data(open_source(path), made.plan, made, limit)


def test_every_bad_row_is_named_with_line_column_and_reason(tmp_path):
    path, found = report(tmp_path)
    assert (found.rows, found.checked, found.ok) == (6, 6, False)
    assert [row.row_id for row in found.bad] == [f"{path}:{line}" for line in (3, 4, 5, 6)]
    assert found.bad[0].reason == "column 'a': 'HI' holds other than small letters"
    assert found.bad[2].reason.startswith("column 't'") and "1 fields" in found.bad[3].reason


def test_the_first_rows_are_shown_as_the_model_sees_them(tmp_path):
    _, found = report(tmp_path)
    row = found.seen[0]
    assert [slot.title for slot in row.slots] == ["[WORD:a]", "[WORD:t]"]
    assert (
        row.source == ("'say' (4) + a (3)",)
        and row.target == "t (3)"
        and row.counts == {"toy/t": 3}
    )


def test_all_turns_of_a_repeat_count_as_learned():
    made = encoder("[WORD:a] -> ([WORD:t])*")
    found = check_data(open_source([{"a": "hi", "t": ["ab", "c", "de"]}]), made.plan, made)
    assert found.seen[0].counts == {"toy/t": 3 + 2 + 3 + 1}


def test_the_page_is_escaped_and_whole(tmp_path):
    page = report(tmp_path)[1].html()
    assert "<b>x</b>" not in page and "&lt;b&gt;x&lt;/b&gt;" in page
    assert (
        page.count("<section>") == 2
        and "say [WORD:a] -&gt; [WORD:t]" in page
        and "http" not in page
    )


def test_a_limit_is_kept(tmp_path):
    assert report(tmp_path, limit=1)[1].checked == 1 and report(tmp_path, limit=1)[1].ok


def test_rows_are_encoded_in_order_with_their_context():
    made = encoder("[WORD:a] -> [WORD:t]")
    found = list(
        encoded_rows(open_source([{"a": "x", "t": "y"}, {"a": 1, "t": "y"}]), made, "test")
    )
    assert found[0].context.row["a"] == "x" and isinstance(found[1], BadRow)
