"""A model of transformers between adapters and heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ofa_backbone_transformers.attention import PREFIX, take_keys, watched
from ofa_backbone_transformers.decoder_only import DecoderOnly
from ofa_backbone_transformers.encoder_decoder import EncoderDecoder
from ofa_backbone_transformers.exporting import write_folder, write_side_files
from ofa_backbone_transformers.folder import (
    BackboneError,
    further_ends,
    generation_settings,
    prompt_tokens,
    special_tokens,
    stored_architecture,
)
from ofa_backbone_transformers.loading import parts_of
from ofa_backbone_transformers.peft_layers import add_peft, merged_state
from ofa_backbone_transformers.row_owners import RowsOfTask
from ofa_backbone_transformers.step_cache import StepCache
from ofa_backbone_transformers.stepping import stepper_of
from ofa_backbone_transformers.tokens import ends_in, rows_of, silent_in
from ofa_backbone_transformers.whisper import WhisperLayers
from ofacore.parts import UncachedDecoder
from ofacore.plugin import UserError
from ofacore.protocols import (
    BackboneConfig,
    BackboneContext,
    KeysAhead,
    KeyShape,
    Layout,
    Options,
    Side,
    Stack,
    Vocabulary,
)


class TransformersBackbone(nn.Module):
    """``transformers``: any `AutoModelForSeq2SeqLM` or `AutoModelForCausalLM` in a local folder.

    Args:
        config: Sizes; they must be those of the folder.
        context: With the options of the manifest.

    Raises:
        BackboneError: There is no such model.
        UserError: The configuration asks for another size.
    """

    restarts = False

    def __init__(self, config: BackboneConfig, context: BackboneContext) -> None:
        super().__init__()
        parts = parts_of(context.options)
        _check_sizes(config, parts.config, parts.rows)
        self.options = dict(context.options)
        prompt = prompt_tokens(self.options)
        self.special = special_tokens(self.options) | ({"start": prompt[-1]} if prompt else {})
        self.ahead = max(0, len(prompt) - 1)
        self.ends = further_ends(self.options)
        self.logit_cap = getattr(parts.config, "final_logit_softcapping", None)
        self.seed = context.seed
        self.architecture = parts.config
        self._rows: Mapping[str, Tensor] = parts.rows
        self.model: EncoderDecoder | DecoderOnly
        if parts.encoder is None:
            self.model = DecoderOnly(parts, bool(self.options.get("joined", True)))
        else:
            whisper = parts.config.model_type == "whisper"
            self.model = WhisperLayers(parts) if whisper else EncoderDecoder(parts)
        if self.options.get("peft"):
            add_peft(self.model, self.options["peft"])
        self._layers = [layer for stack in self._stacks() for layer in _layers_of(stack)]
        if config.checkpoint_activations:
            self._checkpoint()

    @staticmethod
    def stored_options(options: Options) -> dict[str, Any]:
        """Options to build it again from a checkpoint, without the folder that it came from."""
        tokens: dict[str, Any] = {
            **special_tokens(options),
            "prompt": prompt_tokens(options),
            "ends": further_ends(options),
        }
        kept = {
            "config": stored_architecture(options),
            "tokens": tokens,
            "generation": generation_settings(options),
        }
        return {**options, "path": "", "prompt": [], **kept}

    @property
    def most(self) -> int | None:
        """Positions of a sequence that it tells apart; None: any number."""
        if hasattr(self.architecture, "relative_attention_num_buckets"):
            return None
        names = ("max_target_positions", "max_position_embeddings")
        found = [getattr(self.architecture, name, None) for name in names]
        return next((int(number) - self.ahead for number in found if isinstance(number, int)), None)

    def encode(self, states: Tensor, layout: Layout) -> Tensor:
        """Source states [N, H] -> hidden [N, H]."""
        self._see_division()
        return self.model.encode(states, layout)

    def decode(
        self, states: Tensor, layout: Layout, memory: Tensor | None, source: Layout | None
    ) -> Tensor:
        """Target states [M, H] -> hidden [M, H]."""
        self._see_division()
        return self.model.decode(states, layout, memory, source)

    # ------------------------------------------------------------ updates by task

    def side_of(self, name: str) -> Side | None:
        """See `ofacore.protocols.TaskedBackbone`; of a decoder alone all linears read both sides."""
        part, _, rest = name.partition(".")
        if part != "model":
            return None
        return "source" if rest.startswith("encoder.") else "target"

    def rows_by_task(self) -> Sequence[RowsOfTask]:
        """See `ofacore.protocols.RowedBackbone.rows_by_task`."""
        return self.model.owners.now()

    # ------------------------------------------------------------ learned keys

    def attentions(self) -> Mapping[str, KeyShape]:
        """See `ofacore.protocols.PrefixedBackbone.attentions`; they are found by running all layers once."""
        kind = self.architecture.model_type
        take_keys(self.model, kind)
        modes = [(part, part.training) for part in self.modules()]
        like = next(self.parameters())
        with watched() as found, torch.no_grad():
            self.model.eval().try_layers(like.new_zeros(1, 2, self.architecture.hidden_size))
        for part, training in modes:
            part.training = training
        for layer in self._layers:
            if not any(part in found for part in layer.modules()):
                raise UserError(
                    f"model.prefix: a {kind} has attention of its own, which takes no keys from outside; learn a slot "
                    "[PROMPT:p,length=8] or model.lora in its place"
                )
        return {name: found[part] for name, part in self.named_modules() if part in found}

    def put_ahead(self, name: str, learned: Callable[[int], KeysAhead | None]) -> None:
        """See `ofacore.protocols.PrefixedBackbone.put_ahead`."""
        setattr(self.get_submodule(name), PREFIX, learned)

    # ------------------------------------------------------------ tokens

    def token_rows(self, vocabulary: Vocabulary) -> Mapping[str, Tensor]:
        """See `ofacore.protocols.TokenRows.token_rows`; they are handed out once."""
        rows, self._rows = self._rows, {}
        return rows_of(rows, self.special, vocabulary, self.seed) if rows else {}

    def silent_tokens(self, vocabulary: Vocabulary) -> frozenset[int]:
        """See `ofacore.protocols.TokenRows.silent_tokens`."""
        return silent_in(self.special, int(self.architecture.vocab_size), vocabulary)

    def end_tokens(self, vocabulary: Vocabulary) -> tuple[int, ...]:
        """See `ofacore.protocols.TokenRows`."""
        return ends_in(self.ends, int(self.architecture.vocab_size), vocabulary)

    def write_folder(
        self, folder: Path, state: Mapping[str, Tensor], vocabulary: Vocabulary
    ) -> None:
        """Write the model as `save_pretrained` does, what peft added merged.

        Args:
            folder: Where to; it exists.
            state: The whole model's weights by name.
            vocabulary: Its blocks.
        """
        layers = merged_state(self.model)
        stacks = {name: _part_of(layers, name) for name in ("encoder", "decoder")}
        ahead = dict(zip(prompt_tokens(self.options), layers.get("prompt", ()), strict=False))
        write_folder(folder, self.architecture, self.special, stacks, state, vocabulary, ahead)
        write_side_files(
            folder,
            self.architecture,
            generation_settings(self.options),
            prompt_tokens(self.options),
        )

    # ------------------------------------------------------------ generating

    def start_cache(
        self,
        rows: int,
        memory: Tensor | None = None,
        source: Layout | None = None,
        *,
        tasks: tuple[str, ...] = (),
    ) -> StepCache:
        """See `ofacore.protocols.CachedBackbone.start_cache`."""
        plain = UncachedDecoder(self)
        device = next(self.parameters()).device
        origin = torch.arange(rows, device=device)
        own = stepper_of(self.model, origin, memory, source)
        return StepCache(
            origin,
            lambda: plain.start_cache(rows, memory, source, tasks=tasks),
            own,
            task=next(iter(tasks), ""),
        )

    def extend(
        self,
        states: Tensor,
        coordinates: Tensor,
        cache: StepCache,
        valid: Tensor | None = None,
        adapter: str = "",
        causal: bool = True,
        keep: bool = True,
    ) -> Tensor:
        """See `ofacore.protocols.CachedBackbone.extend`."""
        plain = UncachedDecoder(self)
        if causal and keep and cache.in_step(valid):
            self.model.owners.note_one(cache.task)
            hidden: Tensor = cache.own.step(states, adapter)
            cache.note(adapter, states, coordinates, valid)
            return hidden
        before = cache.plain if cache.plain is not None else cache.uncached(plain.extend)
        if keep:
            cache.plain, cache.own = before, None
        return plain.extend(states, coordinates, before, valid, adapter, causal, keep)

    # ------------------------------------------------------------ many processes

    def units(self) -> Sequence[nn.Module]:
        """Its layers."""
        return self._layers

    def idle(self, stack: Stack, layers: range | None = None) -> Tensor | None:
        """Layers that are split over processes are gathered where others compute, positions or not."""
        self._see_division()
        if not self.model.one_group:
            return None
        like = next(self.parameters())
        width = self.architecture.hidden_size
        one = torch.zeros(1, width, dtype=like.dtype, device=like.device, requires_grad=True)
        run = self.model.encode if stack == "encoder" else self.model.decode
        rest = () if stack == "encoder" else (None, None)
        return (run(one, _one_position(like.device), *rest) * 0).sum()

    def _apply(self, fn: Any, recurse: bool = True) -> TransformersBackbone:
        """As of any module, but that frequencies of rotations stay in fp32, as in transformers."""
        exact = [
            (module, name, buffer)
            for module in self.modules()
            for name, buffer in module.named_buffers(recurse=False)
            if name in module._non_persistent_buffers_set and buffer.dtype == torch.float32
        ]
        super()._apply(fn, recurse)
        for module, name, before in exact:
            now = getattr(module, name)
            if now.dtype != before.dtype and before.device.type != "meta":
                setattr(module, name, before.to(now.device))
        return self

    def _see_division(self) -> None:
        """Where layers are split, every process calls each of them once a pass."""
        from torch.distributed.tensor import DTensor

        first = next(iter(self._layers[0].parameters()), None)
        self.model.one_group = isinstance(first, DTensor)

    def _stacks(self) -> list[Any]:
        both = [getattr(self.model, "encoder", None), self.model.decoder]
        return [stack for stack in both if stack is not None]

    def _checkpoint(self) -> None:
        for stack in self._stacks():
            if not stack.supports_gradient_checkpointing:
                raise UserError(
                    f"model.checkpoint_activations: a {self.architecture.model_type} cannot; leave it out"
                )
            for module in stack.modules():
                if hasattr(module, "gradient_checkpointing"):
                    module.gradient_checkpointing = True
                    module._gradient_checkpointing_func = self.model.owners.checkpoint
        if isinstance(self.model, DecoderOnly):
            self.model.recomputes = True


def _part_of(layers: Mapping[str, Tensor], stack: str) -> dict[str, Tensor]:
    """A stack's weights, by their names within it."""
    return {
        name.partition(".")[2]: value
        for name, value in layers.items()
        if name.startswith(f"{stack}.")
    }


def _layers_of(stack: nn.Module) -> list[nn.Module]:
    """The blocks of a stack: the longest of its outermost lists of modules."""
    lists = {
        name: list(part) for name, part in stack.named_modules() if isinstance(part, nn.ModuleList)
    }
    depth = min((name.count(".") for name in lists), default=0)
    return max((found for name, found in lists.items() if name.count(".") == depth), key=len)


def _check_sizes(config: BackboneConfig, own: Any, rows: Mapping[str, Tensor]) -> None:
    if config.hidden != own.hidden_size:
        raise UserError(
            f"model.hidden={config.hidden}, but the {own.model_type} has states of {own.hidden_size}; leave the key out"
        )
    if rows and len(rows["table"]) != own.vocab_size:
        raise BackboneError(
            f"config.json says vocab_size {own.vocab_size}, but there are {len(rows['table'])} rows of tokens"
        )


def _one_position(device: torch.device) -> Layout:
    zero = torch.zeros(1, dtype=torch.int64, device=device)
    yes = torch.ones(1, dtype=torch.bool, device=device)
    return Layout(
        sequence=zero,
        segment=zero,
        coordinates=torch.zeros(1, 3, dtype=torch.int64, device=device),
        causal=yes,
        visible=yes,
        adapter=zero,
        adapters=("token",),
        task=zero,
        tasks=("",),
        slots=("",),
        rows=(zero[None],),
        sequences=1,
    )
