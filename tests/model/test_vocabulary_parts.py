"""Who holds which rows of a vocabulary."""

import pytest
import torch

from ofacore.ground.vocabulary import Block, Vocabulary
from ofacore.model.tokens import vocabulary_parts
from ofacore.model.tokens.vocabulary_parts import VocabularyParts
from ofacore.parallel import cross_entropy, sharding

VOCABULARY = Vocabulary().extend([Block("words", 41), Block("few", 3)])


def parts(monkeypatch, size, rank):
    for module in (vocabulary_parts, sharding):
        monkeypatch.setattr(module, "tensor_size", lambda: size)
    for module in (vocabulary_parts, sharding, cross_entropy):
        monkeypatch.setattr(module, "tensor_rank", lambda: rank)
    return VocabularyParts(VOCABULARY)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_every_token_has_one_holder_and_all_hold_equally_many_rows(monkeypatch, size):
    held, rows = torch.zeros(VOCABULARY.size, dtype=torch.int64), set()
    for rank in range(size):
        own = parts(monkeypatch, size, rank)
        row, mine = own.table()
        held += mine
        rows.add(own.rows)
        blocks = [own.own(block.name) for block in VOCABULARY.blocks]
        assert sorted(row[mine].tolist()) == [number for block in blocks for number in block]
    assert (held == 1).all()
    assert len(rows) == 1


@pytest.mark.parametrize("size", [1, 2, 4])
def test_columns_lead_back_to_every_token_of_the_blocks(monkeypatch, size):
    names = ["core", "few"]
    whole = torch.cat([torch.arange(r.start, r.stop) for r in map(VOCABULARY.range, names)])
    gathered = []
    for rank in range(size):
        own = parts(monkeypatch, size, rank)
        columns = own.columns(names)
        tokens = torch.full((own.rows,), -1)
        row, mine = own.table()
        tokens[row[mine]] = torch.arange(VOCABULARY.size)[mine]
        gathered.append(torch.cat([tokens[r.start : r.stop] for r in map(own.padded, names)]))
        assert torch.equal(gathered[-1] < 0, columns.padding)
        place, is_own = columns.own(torch.arange(len(whole)))
        assert torch.equal(gathered[-1][place[is_own]], whole[is_own])
    assert torch.equal(torch.cat(gathered)[columns.place], whole)


def test_one_process_holds_the_vocabulary_as_it_is(monkeypatch):
    own = parts(monkeypatch, 1, 0)
    assert own.rows == VOCABULARY.size
    assert all(own.own(b.name) == VOCABULARY.range(b.name) for b in VOCABULARY.blocks)
