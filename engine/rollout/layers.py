"""The layers of a Llama as functions of tokens in one line, so that decoding pays for arithmetic and for little else.

A step of decoding a small model through its modules spends most of its time on Python and on the checks of each module.
Here the same products are called one after the other, queries, keys and values in one where their matrices are small.
How tokens see each other is the caller's: it is given queries, keys and values, and gives back what attention found.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine import virtual_tokens
from engine.fused_head import arithmetic
from engine.logprobs import Head, is_plain, split_head
from engine.modes import eval_mode
from engine.packing import has_window

#: Weights that are copied to be multiplied in one go: only matrices so small that a call costs as much as the product.
JOINED_AT_MOST = 2**19

Product = Callable[[Tensor], Tensor]
#: (hidden, states) to hidden with the product of states added.
Addition = Callable[[Tensor, Tensor], Tensor]
#: (layer, queries (N, heads, size) already scaled, keys and values (N, 2, kv heads, size)) to what each query saw.
Attend = Callable[[int, Tensor, Tensor], Tensor]


class Layer(NamedTuple):
    """One block: its products, the norms before them, and the norms of its heads where it has such."""

    before_attention: Product
    qkv: Product
    head_norms: tuple[nn.Module, nn.Module] | None
    out: Addition
    before_mlp: Product
    gate_up: Product
    activation: Product
    down: Addition


class Shape(NamedTuple):
    heads: int
    kv_heads: int
    size: int


class Layers:
    """The weights of a model as they are now. Matrices that are joined are copies, so it serves one rollout."""

    def __init__(self, head: Head) -> None:
        backbone: Any = head.backbone
        attention = backbone.layers[0].self_attn
        size = attention.head_dim
        self.shape = Shape(attention.q_proj.out_features // size, attention.k_proj.out_features // size, size)
        self._embed, self._rotary = backbone.embed_tokens, backbone.rotary_emb
        self._layers = [_layer(layer) for layer in backbone.layers]
        self._norm, self._head = _norm(backbone.norm), head
        weight = next(self._embed.parameters())
        self.device, self.dtype = weight.device, arithmetic(weight)
        scales = [attention.scaling] * self.shape.heads + [1.0] * self.shape.kv_heads
        self._scales = torch.tensor(scales, dtype=weight.dtype, device=weight.device)[:, None]

    def __len__(self) -> int:
        return len(self._layers)

    def turns(self, longest: int) -> Tensor:
        """How positions below `longest` turn queries and keys: cosine and sine, (longest, 2, size)."""
        weight = next(self._embed.parameters())
        cosine, sine = self._rotary(weight, torch.arange(longest, device=self.device).unsqueeze(0))
        half = self.shape.size // 2
        # Turning swaps the halves of a head and negates the first, so here its sine is negated.
        return torch.stack([cosine[0], torch.cat([-sine[0, :, :half], sine[0, :, half:]], dim=-1)], dim=1)

    def read(self, ids: Tensor, turns: Tensor, attend: Attend) -> Tensor:
        """Hidden states, (N, width), of tokens (N,). turns: (N, 2, size), those of their positions."""
        heads, kv_heads, size = self.shape
        cosine, sine = (turns.unsqueeze(2) * self._scales).unbind(1)  # (N, heads + kv heads, size)
        hidden: Tensor = self._embed(ids)
        for index, layer in enumerate(self._layers):
            qkv = layer.qkv(layer.before_attention(hidden)).view(len(ids), -1, size)
            turned = qkv[:, : heads + kv_heads]
            if layer.head_norms is not None:
                of_queries, of_keys = layer.head_norms
                turned.copy_(torch.cat([of_queries(qkv[:, :heads]), of_keys(qkv[:, heads : heads + kv_heads])], dim=1))
            swapped = turned.roll(size // 2, -1)
            turned.mul_(cosine).addcmul_(swapped, sine)
            seen = attend(index, qkv[:, :heads], qkv[:, heads:].view(len(ids), 2, kv_heads, size))
            hidden = layer.out(hidden, seen.reshape(len(ids), -1))
            gate, up = layer.gate_up(layer.before_mlp(hidden)).chunk(2, dim=-1)
            hidden = layer.down(hidden, layer.activation(gate) * up)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, width) to (…, vocabulary)."""
        return self._head.logits(self._norm(hidden))


def _layer(layer: Any) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return Layer(
        before_attention=_norm(layer.input_layernorm),
        qkv=_joined(attention.q_proj, attention.k_proj, attention.v_proj),
        head_norms=(attention.q_norm, attention.k_norm) if hasattr(attention, "q_norm") else None,
        out=_added(attention.o_proj),
        before_mlp=_norm(layer.post_attention_layernorm),
        gate_up=_joined(mlp.gate_proj, mlp.up_proj),
        activation=F.silu if type(mlp.act_fn).__name__ in ("SiLU", "SiLUActivation") else mlp.act_fn,
        down=_added(mlp.down_proj),
    )


def _norm(norm: Any) -> Product:
    if not type(norm).__name__.endswith("RMSNorm"):
        return norm  # type: ignore[no-any-return]
    weight, eps = norm.weight, norm.variance_epsilon
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return partial(F.rms_norm, normalized_shape=weight.shape, weight=weight, eps=eps)
    # On a CPU that makes eight calls; w x / sqrt(|x|²/n + eps) = (w sqrt(n)) x / hypot(|x|, sqrt(n eps)) makes four.
    root = math.sqrt(len(weight))
    scaled, floor = weight * root, weight.new_tensor(root * math.sqrt(eps))

    def normed(states: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
        return torch.div(states, torch.hypot(length, floor)).mul_(scaled)

    return normed


def _joined(*products: Any) -> Product:
    """What several linear layers give, side by side. An adapter's layers and quantised ones are called as they are."""
    if not all(is_plain(linear) for linear in products) or sum(p.weight.numel() for p in products) > JOINED_AT_MOST:
        return lambda states: torch.cat([linear(states) for linear in products], dim=-1)
    weight = torch.cat([linear.weight for linear in products]).t()
    if products[0].bias is None:
        return partial(torch.mm, mat2=weight)
    bias = torch.cat([linear.bias for linear in products])
    return lambda states: torch.addmm(bias, states, weight)


def _added(linear: Any) -> Addition:
    if not is_plain(linear) or linear.bias is not None:
        return lambda hidden, states: hidden + linear(states)
    weight = linear.weight.t()
    return lambda hidden, states: torch.addmm(hidden, states, weight)


#: The names of the parts that are read here. A module with others computes something else.
BACKBONE = {"embed_tokens", "layers", "norm", "rotary_emb"}
BLOCK = {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}
ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
HEAD_NORMS = {"q_norm", "k_norm"}
MLP = {"gate_proj", "up_proj", "down_proj", "act_fn"}


def readable_head(model: nn.Module) -> Head | None:
    """The head of a model that `Layers` computes: it has these parts and no others, and agrees on a few tokens.

    What a few tokens cannot tell is refused: a window, and positions that turn otherwise in longer texts. So is a model
    that somebody listens to or has spread over devices, as both are done by hooks that are not called here.
    """
    base = virtual_tokens.base_of(model)
    head = split_head(model)
    if head is None or virtual_tokens.has_virtual_tokens(model) or not _has_the_parts(head.backbone):
        return None
    if has_window(base.config) or _turns_by_length(base.config) or any(map(_is_watched, base.modules())):
        return None
    with torch.no_grad(), eval_mode(model):
        return head if _agrees(base, head) else None


def _has_the_parts(backbone: Any) -> bool:
    return _names(backbone) == BACKBONE and all(
        _names(layer) == BLOCK
        and _names(layer.self_attn) in (ATTENTION, ATTENTION | HEAD_NORMS)
        and _names(layer.mlp) == MLP
        and hasattr(layer.self_attn, "head_dim")
        for layer in backbone.layers
    )


def _names(module: nn.Module) -> set[str]:
    return {name for name, _ in module.named_children()}


def _turns_by_length(config: Any) -> bool:
    kind = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    return kind not in ("default", "linear", "llama3", "yarn")


def _is_watched(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks) or "forward" in vars(module)


def _agrees(base: Any, head: Head) -> bool:
    layers = Layers(head)
    heads, kv_heads, _ = layers.shape
    ids = torch.arange(2, 10, device=layers.device)

    def attend(_: int, queries: Tensor, keys_and_values: Tensor) -> Tensor:
        keys, values = keys_and_values.repeat_interleave(heads // kv_heads, dim=2).transpose(0, 2).unbind(1)
        seen = F.scaled_dot_product_attention(queries.transpose(0, 1), keys, values, is_causal=True, scale=1.0)
        return seen.transpose(0, 1)

    ours = layers.logits(layers.read(ids, layers.turns(len(ids)), attend)).float()
    theirs = base(input_ids=ids.unsqueeze(0), use_cache=False).logits[0].float()
    # Half of the tokens are enough: what computes otherwise does so at all of them. At a rare one a trained model may
    # blow up its rounding (SmolLM2 at id 8: 0.01 between float32 and float64), and that tells nothing.
    difference = (ours - theirs).abs().amax(dim=-1).median()
    allowed = 1e-4 if layers.dtype == torch.float32 else 0.2
    return bool(difference < allowed * theirs.std())
