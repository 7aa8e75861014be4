"""Small random models of transformers, with tokenizers made here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import WhisperConfig, WhisperForConditionalGeneration

SPECIALS = ["<pad>", "</s>", "<s>", "<unk>", "<mask>"]
PAD, EOS, BOS = 0, 1, 2
ROWS = 328
"""Tokens of a model: some more than its tokenizer has."""
_BOTH = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
_WORDS = ["the cat sat on the mat", "red green blue", "a dog and a bird", "sun and moon"] * 4
_SMALL = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


def tokenizer(before: bool, behind: bool) -> Tokenizer:
    """Byte-level BPE that puts ``<s>`` in front of a text and ``</s>`` behind it, as asked."""
    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=ROWS - 12,
        special_tokens=SPECIALS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    found.train_from_iterator(_WORDS, trainer)
    around = f"{'<s> ' if before else ''}$A{' </s>' if behind else ''}"
    found.post_processor = processors.TemplateProcessing(
        single=around, special_tokens=[("<s>", BOS), ("</s>", EOS)]
    )
    return found


def t5() -> Any:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=ROWS,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        decoder_start_token_id=PAD,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    return T5ForConditionalGeneration(config), (False, True)


def mt5() -> Any:
    from transformers import MT5Config, MT5ForConditionalGeneration

    config = MT5Config(
        vocab_size=ROWS,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        decoder_start_token_id=PAD,
        eos_token_id=EOS,
        pad_token_id=PAD,
        tie_word_embeddings=False,
    )
    return MT5ForConditionalGeneration(config), (False, True)


def bart() -> Any:
    from transformers import BartConfig, BartForConditionalGeneration

    config = BartConfig(
        vocab_size=ROWS,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=300,
        dropout=0.0,
        decoder_start_token_id=EOS,
        forced_bos_token_id=None,
        forced_eos_token_id=None,
        scale_embedding=True,
        **_BOTH,
    )
    model = BartForConditionalGeneration(config)
    model.final_logits_bias.copy_(torch.randn(1, ROWS))
    return model, (True, True)


def marian() -> Any:
    from transformers import MarianConfig, MarianMTModel

    config = MarianConfig(
        vocab_size=ROWS,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=300,
        dropout=0.0,
        decoder_start_token_id=PAD,
        pad_token_id=PAD,
        eos_token_id=EOS,
        forced_eos_token_id=None,
        scale_embedding=True,
    )
    return MarianMTModel(config), (False, True)


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=ROWS,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=300,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        **_BOTH,
    )
    return GPT2LMHeadModel(config), (False, False)


def llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=ROWS,
        hidden_size=32,
        num_key_value_heads=2,
        tie_word_embeddings=False,
        **_SMALL,
        **_BOTH,
    )
    return LlamaForCausalLM(config), (True, False)


def qwen2() -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=ROWS,
        hidden_size=32,
        num_key_value_heads=2,
        use_sliding_window=True,
        sliding_window=6,
        max_window_layers=1,
        tie_word_embeddings=True,
        **_SMALL,
        **_BOTH,
    )
    return Qwen2ForCausalLM(config), (False, False)


def gemma() -> Any:
    from transformers import GemmaConfig, GemmaForCausalLM

    config = GemmaConfig(
        vocab_size=ROWS, hidden_size=32, num_key_value_heads=1, head_dim=8, **_SMALL, **_BOTH
    )
    return GemmaForCausalLM(config), (True, False)


def gemma2() -> Any:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(
        vocab_size=ROWS,
        hidden_size=32,
        num_key_value_heads=1,
        head_dim=8,
        sliding_window=6,
        query_pre_attn_scalar=8,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
        **_SMALL,
        **_BOTH,
    )
    return Gemma2ForCausalLM(config), (True, False)


def gemma3() -> Any:
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    config = Gemma3TextConfig(
        vocab_size=ROWS,
        hidden_size=32,
        num_key_value_heads=1,
        head_dim=8,
        sliding_window=6,
        query_pre_attn_scalar=8,
        layer_types=["sliding_attention", "full_attention"],
        **_SMALL,
        **_BOTH,
    )
    return Gemma3ForCausalLM(config), (True, False)


_MADE = (t5, mt5, bart, marian, gpt2, llama, qwen2, gemma, gemma2, gemma3)
FAMILIES = {made.__name__: made for made in _MADE}


def save(family: str, folder: Path) -> Path:
    """A folder as `save_pretrained` writes it."""
    torch.manual_seed(3)
    model, (before, behind) = FAMILIES[family]()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4 if parameter.std() < 0.1 else 1)
    model.save_pretrained(folder)
    tokenizer(before, behind).save(str(folder / "tokenizer.json"))
    names = {
        "unk_token": "<unk>",
        "mask_token": "<mask>",
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    return folder


def whisper(folder: Path) -> Path:
    """A tiny Whisper that hears half a minute."""
    torch.manual_seed(3)
    config = WhisperConfig(
        vocab_size=ROWS,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        num_mel_bins=80,
        max_target_positions=64,
        decoder_start_token_id=BOS,
        suppress_tokens=[7, 9],
        begin_suppress_tokens=[EOS, 11],
        **_BOTH,
    )
    model = WhisperForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.model.decoder.parameters():
            if parameter.dim() > 1:
                parameter.mul_(8)
    model.generation_config.update(
        suppress_tokens=[7, 9], begin_suppress_tokens=[EOS, 11], decoder_start_token_id=BOS, **_BOTH
    )
    model.save_pretrained(folder)
    tokenizer(False, False).save(str(folder / "tokenizer.json"))
    return folder
