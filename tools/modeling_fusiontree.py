"""The FusionTree model in plain PyTorch, for Transformers.

This file says what the model computes, not how to compute it quickly: loops run over time where that is the clearest
statement, attention holds its whole score matrix, logits are not chunked. Copied into a model folder whose config.json has

    "auto_map": {"AutoConfig": "modeling_fusiontree.FusionTreeConfig",
                 "AutoModelForCausalLM": "modeling_fusiontree.FusionTreeForCausalLM"}

it is loaded by AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True), and `generate` works with a cache. That the
copy suffices is why the model is one long file.

Beyond the usual arguments, forward takes
  document_starts  a row's document starts (list of ints for one row, list of lists for several); token 0 of a
                   fresh row always starts one
  labels           [B, L], -100 = not a target; label t is predicted from t - 1 if both lie in the same document
  teacher_logits   [B, L, V] for the distillation loss, with distill_temperature
  dropped          [layers, B, L], 0 nothing, DROP_MAMBA or DROP_ATTENTION: the branch that these tokens go without; in training
                   with drop_branch_prob it is drawn per layer and document when not given
and returns, beside logits and the cache, `losses`: lm, balance, balance_per_channel, entropy, polarise, distill, each by itself
(those that the arguments allow). `loss` is lm alone; total_loss() adds the terms up.

Where the definition leaves room, this file means:
  - Left padding (attention_mask) is a document of its own before the row's first token, so nothing of it is seen and positions
    start at the first real token; padding has no part in any loss. Padding elsewhere: right padding only without a cache.
  - gate_granularity "none" has no gate and no gate tensors; such a layer counts as not gated, so the gate losses are 0.
    In a pruned layer, or where branch dropout takes a branch, the survivor still has weight 1 instead of 1/2.
  - The gate losses average over the layers in which some document kept both branches.
  - conv_kernel 0: no conv1d tensors, x~ = silu(z_x). A conv of width 1 looks at its own token only.
    attn_conv_kernel 0: no attn.conv.weight.
  - norm_mid of a serial attention layer, and of tokens whose Mamba branch is dropped, sees x + 0.
  - base_window is read for "pyramidal" only. sincos needs an even H whatever the layer types are. `local` needs G < n_h; G = 0 is
    then the same as `hybrid`. A learnt table is not required of a model that has no Mamba branch.
  - Dropout on h_a acts after norm_a and before the alignment, thus also on what the gate sees.
  - Distillation's targets are those of the lm loss.
  - No upper bounds on sizes are checked here, except that token ids lie in the vocabulary.
  - The cache keeps all keys of all heads: what a local head no longer sees is masked, not dropped.
  - In bf16 or fp16, norms, softmax, gates, conv, scan and losses are computed in fp32 and rounded where a linear layer takes them.
    In fp32 all is fp32, in fp64 all is fp64, except the rotary angles and the sincos table, which are fp32 numbers by definition.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import ModelOutput

DROP_MAMBA, DROP_ATTENTION = 1, 2

REQUIRED = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "window_size",
            "global_heads", "gate_rank")
# None: set from other keys below.
DEFAULTS = dict(
    head_dim=None, base_window=None, attention_type="local_global", rope_theta=10000.0, attn_conv_kernel=4, branch_norm=True,
    gate_granularity="channel", branch_layout="parallel", layer_types=None, norm_type="layernorm", norm_eps=1e-5,
    residual_norm="none", use_alignment=True, srte_encoding="sincos", srte_rank=64, srte_share_across_layers=True,
    max_position_embeddings=32768, ssm_state_size=16, conv_kernel=4, expand=2, time_step_rank=None, ssm_norm=False,
    tie_word_embeddings=True, dropout=0.0, drop_branch_prob=0.0, initializer_range=0.02,
    pad_token_id=None, bos_token_id=None, eos_token_id=None)
IGNORED = ("architectures", "auto_map", "torch_dtype", "dtype", "transformers_version", "use_cache", "model_type")
# What Transformers itself hands to a config beside the file's keys.
MACHINERY = ("_commit_hash", "_name_or_path", "name_or_path", "attn_implementation", "_attn_implementation",
             "_attn_implementation_internal", "_experts_implementation_internal", "output_hidden_states", "return_dict")
CHOICES = dict(
    attention_type=("local_global", "pyramidal"), gate_granularity=("channel", "token", "none"),
    branch_layout=("parallel", "serial"), norm_type=("layernorm", "rmsnorm"), residual_norm=("none", "post"),
    srte_encoding=("sincos", "learnable", "factorized", "none"))
LAYER_TYPES = ("hybrid", "mamba", "attention", "local")
AT_LEAST = dict(
    vocab_size=1, hidden_size=1, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1, window_size=1, global_heads=0,
    gate_rank=1, head_dim=1, base_window=1, attn_conv_kernel=0, srte_rank=1, max_position_embeddings=1, ssm_state_size=1,
    conv_kernel=0, expand=1, time_step_rank=1)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_integer(value):
    return isinstance(value, int) and not isinstance(value, bool)


class FusionTreeConfig(PretrainedConfig):
    model_type = "fusiontree"
    has_no_defaults_at_init = True
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(self, **given):
        for key in given:
            if key not in REQUIRED and key not in DEFAULTS and key not in IGNORED and key not in MACHINERY:
                raise ValueError(f"config: unknown key {key!r}")
        if given.get("model_type", self.model_type) != self.model_type:
            raise ValueError(f"config: model_type must be {self.model_type!r}, got {given['model_type']!r}")
        for key in REQUIRED:
            if given.get(key) is None:
                raise ValueError(f"config: {key} is required")
        values = {key: given[key] for key in REQUIRED}
        values |= {key: default if given.get(key) is None else given[key] for key, default in DEFAULTS.items()}

        # The base class may rename entries of layer_types that it takes for old spellings, so it never sees them.
        super().__init__(**{key: value for key, value in given.items() if key in IGNORED + MACHINERY and key != "model_type"})

        def refuse(key, expected):
            raise ValueError(f"config: {key} must be {expected}, got {values[key]!r}")

        def set_default(key, value):
            if values[key] is None:
                values[key] = value

        # Types and ranges of what is given, then the defaults that depend on other keys, then combinations.
        for key, least in AT_LEAST.items():
            if values[key] is not None and not (is_integer(values[key]) and values[key] >= least):
                refuse(key, f"an integer >= {least}")
        for key, choices in CHOICES.items():
            if values[key] not in choices:
                refuse(key, "one of " + ", ".join(choices))
        for key, default in DEFAULTS.items():
            if isinstance(default, bool) and not isinstance(values[key], bool):
                refuse(key, "true or false")
        for key in ("rope_theta", "norm_eps", "initializer_range"):
            if not (is_number(values[key]) and values[key] > 0):
                refuse(key, "a number > 0")
        if not (is_number(values["dropout"]) and 0 <= values["dropout"] < 1):
            refuse("dropout", "a number in [0, 1)")
        if not (is_number(values["drop_branch_prob"]) and 0 <= values["drop_branch_prob"] <= 1):
            refuse("drop_branch_prob", "a number in [0, 1]")
        for key in ("pad_token_id", "bos_token_id", "eos_token_id"):
            ids = values[key] if isinstance(values[key], list) else [values[key]]
            if values[key] is not None and not all(is_integer(i) and 0 <= i < values["vocab_size"] for i in ids):
                refuse(key, f"token ids in [0, {values['vocab_size']})")

        heads, kv_heads, layers = values["num_attention_heads"], values["num_key_value_heads"], values["num_hidden_layers"]
        if heads % kv_heads:
            refuse("num_key_value_heads", f"a divisor of num_attention_heads = {heads}")
        if values["head_dim"] is None and values["hidden_size"] % heads:
            refuse("num_attention_heads", f"a divisor of hidden_size = {values['hidden_size']}, or head_dim must be given")
        set_default("head_dim", values["hidden_size"] // heads)
        set_default("base_window", values["window_size"])
        set_default("time_step_rank", -(-values["hidden_size"] // 16))
        set_default("layer_types", ["hybrid"] * layers)
        if values["head_dim"] % 2:
            refuse("head_dim", "even")
        if values["global_heads"] > heads or values["global_heads"] % (heads // kv_heads):
            refuse("global_heads", f"a multiple of num_attention_heads / num_key_value_heads = {heads // kv_heads} up to {heads}")
        types = values["layer_types"]
        if not isinstance(types, (list, tuple)) or len(types) != layers or any(t not in LAYER_TYPES for t in types):
            refuse("layer_types", f"a list of {layers} (num_hidden_layers), each one of " + ", ".join(LAYER_TYPES))
        if "local" in types and values["global_heads"] == heads:
            refuse("layer_types", f"without 'local' where all {heads} heads are global (that layer is 'mamba')")
        if values["srte_encoding"] == "sincos" and values["hidden_size"] % 2:
            refuse("hidden_size", "even with srte_encoding sincos")

        self.use_cache = bool(given.get("use_cache", True))
        for key, value in values.items():
            setattr(self, key, list(value) if key == "layer_types" else value)

    def validate_layer_type(self):
        """Our layer types are checked above; the base class knows others."""

    def window(self, layer):
        if self.attention_type == "local_global" or self.num_hidden_layers == 1:
            return self.window_size
        n = self.num_hidden_layers - 1
        # floor(base + (window - base) * i / n + 1/2) in integers
        return (2 * self.base_window * n + 2 * (self.window_size - self.base_window) * layer + n) // (2 * n)

    def to_dict(self):
        """Only keys that a config.json of this model may have."""
        out = {"model_type": self.model_type}
        out |= {key: getattr(self, key) for key in (*REQUIRED, *DEFAULTS, "architectures", "auto_map", "use_cache")
                if getattr(self, key, None) is not None}
        if getattr(self, "dtype", None) is not None:
            out["dtype"] = str(self.dtype).removeprefix("torch.")
        return out

    def to_diff_dict(self):
        return self.to_dict()


def wide(x):
    """fp32 for bf16 and fp16, else as it is."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class RMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        y = wide(x)
        return (y / torch.sqrt(y.pow(2).mean(-1, keepdim=True) + self.eps) * wide(self.weight)).to(x.dtype)


class LayerNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))
        self.eps = eps

    def forward(self, x):
        y = wide(x)
        y = y - y.mean(-1, keepdim=True)
        y = y / torch.sqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)
        return (y * wide(self.weight) + wide(self.bias)).to(x.dtype)


def make_norm(config):
    return (LayerNorm if config.norm_type == "layernorm" else RMSNorm)(config.hidden_size, config.norm_eps)


def branch_norm(config):
    return RMSNorm(config.hidden_size, config.norm_eps) if config.branch_norm else nn.Identity()


class Srte(nn.Module):
    """The time encoding's rows [B, L, H] at positions [B, L]."""

    def __init__(self, config):
        super().__init__()
        self.kind, self.hidden, self.length = config.srte_encoding, config.hidden_size, config.max_position_embeddings
        if self.kind == "learnable":
            self.weight = nn.Parameter(torch.empty(self.length, self.hidden))
        elif self.kind == "factorized":
            self.factor = nn.Parameter(torch.empty(self.length, config.srte_rank))
            self.basis = nn.Parameter(torch.empty(self.hidden, config.srte_rank))

    def forward(self, positions):
        if self.kind == "sincos":
            exponent = -torch.arange(0, self.hidden, 2, dtype=torch.float64, device=positions.device) / self.hidden
            angle = positions[..., None].double() * torch.pow(10000.0, exponent)
            return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2).float()
        if int(positions.max()) >= self.length:
            raise ValueError(f"srte: position {int(positions.max())} is beyond the {self.length} rows (max_position_embeddings) "
                             f"of the {self.kind} table")
        if self.kind == "learnable":
            return self.weight[positions]
        return self.factor[positions] @ self.basis.T


def causal_conv(x, window, weight, positions):
    """Depthwise causal conv in fp32 or wider: x [B, L, C] after `window` [B, K-1, C], weight [C, K]; -> y [B, L, C], new window.

    Inputs before the start of a token's document count as zero."""
    width, length = weight.shape[1], x.shape[1]
    if window is None:
        window = x.new_zeros(x.shape[0], width - 1, x.shape[2])
    padded = torch.cat((window, x), dim=1)
    y = torch.zeros_like(x)
    for k in range(width):
        back = width - 1 - k
        seen = (positions >= back)[..., None]
        y = y + weight[:, k] * torch.where(seen, padded[:, k:k + length], torch.zeros_like(x))
    return y, padded[:, length:]


class MambaMixer(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, inner = config.hidden_size, config.expand * config.hidden_size
        self.rank, self.states, self.kernel = config.time_step_rank, config.ssm_state_size, config.conv_kernel
        self.in_proj = nn.Linear(hidden, 2 * inner, bias=False)
        if self.kernel:
            self.conv1d = nn.Conv1d(inner, inner, self.kernel, groups=inner)
        self.x_proj = nn.Linear(inner, self.rank + 2 * self.states, bias=False)
        self.dt_proj = nn.Linear(self.rank, inner)
        self.A_log = nn.Parameter(torch.empty(inner, self.states))
        self.D = nn.Parameter(torch.empty(inner))
        self.out_proj = nn.Linear(inner, hidden, bias=False)
        self.ssm_norm = config.ssm_norm
        if self.ssm_norm:
            self.dt_norm = RMSNorm(self.rank, config.norm_eps)
            self.b_norm = RMSNorm(self.states, config.norm_eps)
            self.c_norm = RMSNorm(self.states, config.norm_eps)

    def delta(self, x):
        """Δ, B, C of the conv's output x [B, L, D]."""
        dt, b, c = wide(self.x_proj(x.to(self.x_proj.weight.dtype))).split((self.rank, self.states, self.states), dim=-1)
        if self.ssm_norm:
            dt, b, c = self.dt_norm(dt), self.b_norm(b), self.c_norm(c)
        dt = wide(F.linear(dt.to(self.dt_proj.weight.dtype), self.dt_proj.weight)) + wide(self.dt_proj.bias)
        return torch.logaddexp(dt, torch.zeros_like(dt)), b, c  # softplus

    def forward(self, u, positions, starts, conv_window, state):
        x, z = wide(self.in_proj(u)).chunk(2, dim=-1)
        if self.kernel:
            x, conv_window = causal_conv(x, conv_window, wide(self.conv1d.weight)[:, 0], positions)
            x = x + wide(self.conv1d.bias)
        x = F.silu(x)
        delta, b, c = self.delta(x)
        a = -torch.exp(wide(self.A_log))
        s = x.new_zeros(x.shape[0], x.shape[2], self.states) if state is None else state
        outputs = []
        for t in range(x.shape[1]):
            s = torch.where(starts[:, t, None, None], torch.zeros_like(s), s)
            s = torch.exp(delta[:, t, :, None] * a) * s + (delta[:, t] * x[:, t])[..., None] * b[:, t, None, :]
            outputs.append((s * c[:, t, None, :]).sum(-1))
        y = torch.stack(outputs, dim=1) + wide(self.D) * x
        return self.out_proj((y * F.silu(z)).to(u.dtype)), conv_window, s


class Attention(nn.Module):
    """`local` layers have only the first n_h - G heads and their KV heads."""

    def __init__(self, config, layer, kind):
        super().__init__()
        self.group = config.num_attention_heads // config.num_key_value_heads
        self.global_heads = 0 if kind == "local" else config.global_heads
        self.heads = config.num_attention_heads - (config.global_heads if kind == "local" else 0)
        self.kv_heads = self.heads // self.group
        self.head_dim, self.theta, self.window = config.head_dim, config.rope_theta, config.window(layer)
        self.kernel = config.attn_conv_kernel
        if self.kernel:
            self.conv = nn.Conv1d(config.hidden_size, config.hidden_size, self.kernel, groups=config.hidden_size, bias=False)
        self.q_proj = nn.Linear(config.hidden_size, self.heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, self.kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, self.kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(self.heads * self.head_dim, config.hidden_size, bias=False)

    def rotate(self, x, positions):
        """x [B, heads, L, d]: pairs (i, i + d/2)."""
        exponent = torch.arange(0, self.head_dim, 2, device=x.device).float() / self.head_dim
        inverse = 1.0 / (self.theta ** exponent)
        angle = (positions[..., None].float() * inverse)[:, None].to(wide(x).dtype)
        cos, sin = angle.cos(), angle.sin()
        first, second = wide(x).chunk(2, dim=-1)
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)

    def forward(self, u, positions, documents, past):
        """documents [B, T] of all tokens, past and present; past: dict of keys, values [B, kv_heads, T, d] and window, or empty."""
        if self.kernel:
            conv, past["window"] = causal_conv(wide(u), past.get("window"), wide(self.conv.weight)[:, 0], positions)
            u = (wide(u) + conv).to(u.dtype)
        batch, length, _ = u.shape
        q = self.q_proj(u).view(batch, length, self.heads, self.head_dim).transpose(1, 2)
        k = self.k_proj(u).view(batch, length, self.kv_heads, self.head_dim).transpose(1, 2)
        v = self.v_proj(u).view(batch, length, self.kv_heads, self.head_dim).transpose(1, 2)
        q, k = self.rotate(q, positions), self.rotate(k, positions)
        if "keys" in past:
            k, v = torch.cat((past["keys"], k), dim=2), torch.cat((past["values"], v), dim=2)
        past["keys"], past["values"] = k, v

        total = k.shape[2]
        i = torch.arange(total - length, total, device=u.device)[:, None]
        j = torch.arange(total, device=u.device)[None, :]
        same = documents[:, -length:, None] == documents[:, None, :]
        outputs = []
        for h in range(self.heads):
            local = h < self.heads - self.global_heads
            seen = same & (j <= i) & ((i - j < self.window) | (not local))
            scores = wide(q[:, h]) @ wide(k[:, h // self.group]).transpose(1, 2) / math.sqrt(self.head_dim)
            weights = torch.softmax(scores.masked_fill(~seen, -math.inf), dim=-1)
            outputs.append(weights @ wide(v[:, h // self.group]))
        return self.o_proj(torch.cat(outputs, dim=-1).to(u.dtype))


class Fuse(nn.Module):
    def __init__(self, config, both):
        super().__init__()
        hidden = config.hidden_size
        if config.use_alignment:
            inputs = 2 * hidden if both else hidden
            self.w1 = nn.Linear(inputs, hidden)
            self.w2 = nn.Linear(hidden, hidden)
            self.wr = nn.Linear(inputs, hidden)
        self.wf = nn.Linear(hidden, hidden)
        self.wf.init_scale = (2 * config.num_hidden_layers) ** -0.5


class Gate(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.gu = nn.Linear(config.hidden_size, config.gate_rank, bias=False)
        self.gd = nn.Linear(config.gate_rank, config.hidden_size if config.gate_granularity == "channel" else 1, bias=False)

    def forward(self, a):
        return torch.sigmoid(wide(self.gd(torch.tanh(wide(self.gu(a))).to(a.dtype))))


class Mlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.m1 = nn.Linear(config.hidden_size, 2 * config.hidden_size)
        self.m2 = nn.Linear(2 * config.hidden_size, config.hidden_size)
        self.m2.init_scale = (2 * config.num_hidden_layers) ** -0.5

    def forward(self, a):
        return self.m2(F.gelu(self.m1(a)))


class Layer(nn.Module):
    def __init__(self, config, index):
        super().__init__()
        kind = config.layer_types[index]
        self.serial = config.branch_layout == "serial"
        self.has_mamba, self.has_attention = kind != "attention", kind != "mamba"
        self.both = self.has_mamba and self.has_attention
        self.align, self.dropout = config.use_alignment, config.dropout
        if self.has_mamba or not self.serial:
            self.norm_in = make_norm(config)
        if self.has_mamba:
            self.norm_m = branch_norm(config)
            self.mamba = MambaMixer(config)
            if config.srte_encoding != "none" and not config.srte_share_across_layers:
                self.srte = Srte(config)
        if self.has_attention:
            self.norm_a = branch_norm(config)
            self.attn = Attention(config, index, kind)
            if self.serial:
                self.norm_mid = make_norm(config)
        self.fuse = Fuse(config, self.both)
        self.gated = self.both and config.gate_granularity != "none"
        if self.gated:
            self.gate = Gate(config)
        self.mlp = Mlp(config)
        self.post = config.residual_norm == "post"
        if self.post:
            self.norm_out = make_norm(config)

    def forward(self, x, srte, positions, starts, documents, past, dropped):
        """x [B, L, H]; dropped [B, L] or None. -> output, gate [B, L, H or 1] or None."""
        u = self.norm_in(x) if self.has_mamba or not self.serial else None
        h_m = torch.zeros_like(x)
        if self.has_mamba:
            own = self.srte(positions) if hasattr(self, "srte") else srte
            time = u if own is None else (wide(u) + wide(own).to(wide(u).dtype)).to(u.dtype)
            out, past["conv"], past["scan"] = self.mamba(time, positions, starts, past.get("conv"), past.get("scan"))
            h_m = self.norm_m(out)
            if dropped is not None:
                h_m = h_m.masked_fill((dropped == DROP_MAMBA)[..., None], 0)
        h_a = torch.zeros_like(x)
        if self.has_attention:
            source = self.norm_mid(x + h_m) if self.serial else u
            h_a = F.dropout(self.norm_a(self.attn(source, positions, documents, past)), self.dropout, self.training)
            if dropped is not None:
                h_a = h_a.masked_fill((dropped == DROP_ATTENTION)[..., None], 0)

        if self.align:
            branches = [h_m] * self.has_mamba + [h_a] * self.has_attention
            h = torch.cat(branches, dim=-1)
            a = self.fuse.w2(F.gelu(self.fuse.w1(h))) + self.fuse.wr(h)
        else:
            a = (h_m + h_a) / 2

        gate = None
        if self.gated:
            gate = self.gate(a)
            g = gate
        elif self.both:
            g = torch.full_like(wide(x[..., :1]), 0.5)
        else:
            g = torch.full_like(wide(x[..., :1]), 1.0 if self.has_mamba else 0.0)
        if dropped is not None and self.both:
            g = torch.where((dropped == DROP_MAMBA)[..., None], torch.zeros_like(g), g)
            g = torch.where((dropped == DROP_ATTENTION)[..., None], torch.ones_like(g), g)
        f = (g * wide(h_m) + (1 - g) * wide(h_a)).to(x.dtype)
        out = x + self.fuse.wf(f) + F.dropout(self.mlp(a), self.dropout, self.training)
        return (self.norm_out(out) if self.post else out), gate


class FusionTreeCache:
    """What decode needs: per layer keys, values, both conv windows and the scan state; per row where its document stands."""

    is_compileable = False

    def __init__(self, layers):
        self.layers = [{} for _ in range(layers)]
        self.seen = 0  # tokens of the row so far
        self.documents = None  # [B, keys] number of each key's document
        self.document = self.position = None  # [B] of the last document: its number, its next position

    def get_seq_length(self, layer_idx=0):
        return self.seen

    def reorder_cache(self, rows):
        for layer in self.layers:
            for key, value in layer.items():
                if value is not None:
                    layer[key] = value[rows]
        self.documents, self.document, self.position = self.documents[rows], self.document[rows], self.position[rows]

    def next_row(self):
        """State passing: scan state and conv windows go on without gradient, positions go on, attention starts anew."""
        for layer in self.layers:
            for key in list(layer):
                if key in ("keys", "values"):
                    del layer[key]
                elif layer[key] is not None:
                    layer[key] = layer[key].detach()
        self.documents = self.documents[:, :0]
        self.seen = 0


@dataclass
class FusionTreeModelOutput(ModelOutput):
    last_hidden_state: torch.FloatTensor | None = None
    past_key_values: FusionTreeCache | None = None
    hidden_states: tuple | None = None
    gates: tuple | None = None  # per layer [B, L, H or 1], None where there is no gate
    documents: torch.Tensor | None = None  # [B, L] number of each token's document
    dropped: torch.Tensor | None = None


@dataclass
class FusionTreeOutput(ModelOutput):
    loss: torch.FloatTensor | None = None
    losses: dict | None = None
    logits: torch.FloatTensor | None = None
    past_key_values: FusionTreeCache | None = None
    hidden_states: tuple | None = None
    gates: tuple | None = None


class FusionTreePreTrainedModel(PreTrainedModel):
    config_class = FusionTreeConfig
    base_model_prefix = "model"
    _is_stateful = True
    _keep_in_fp32_modules_strict = ["A_log", "mamba.D", "dt_proj.bias"]

    def _init_weights(self, module):
        """Children come before parents, so a mixer has the last word on its convs and its dt_proj."""
        deviation = self.config.initializer_range
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, 0.0, deviation * getattr(module, "init_scale", 1.0))
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, 0.0, deviation)
        elif isinstance(module, nn.Conv1d):
            bound = module.kernel_size[0] ** -0.5
            init.uniform_(module.weight, -bound, bound)
            if module.bias is not None:
                init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, (RMSNorm, LayerNorm)):
            init.ones_(module.weight)
            if isinstance(module, LayerNorm):
                init.zeros_(module.bias)
        elif isinstance(module, Srte):
            for table in module.parameters(recurse=False):
                init.normal_(table, 0.0, deviation)
        elif isinstance(module, MambaMixer):
            device = module.A_log.device
            states = torch.arange(1, module.states + 1, dtype=torch.float32, device=device)
            init.copy_(module.A_log, torch.log(states).expand_as(module.A_log))
            init.ones_(module.D)
            bound = module.rank ** -0.5
            init.uniform_(module.dt_proj.weight, -bound, bound)
            low, high = math.log(0.001), math.log(0.1)
            delta = torch.exp(low + (high - low) * torch.rand(module.D.shape, device=device))
            init.copy_(module.dt_proj.bias, delta + torch.log(-torch.expm1(-delta)))  # softplus of this is delta

    @classmethod
    def from_pretrained(cls, *args, output_loading_info=False, **kwargs):
        """As always, but a tensor that is missing, left over or of another shape is an error."""
        model, info = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
        for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            names = set(info.get(what, ())) - tied
            if names:
                raise ValueError(f"{what.replace('_keys', '')} tensors: {', '.join(sorted(map(str, names)))}")
        return (model, info) if output_loading_info else model


class FusionTreeModel(FusionTreePreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        any_mamba = any(kind != "attention" for kind in config.layer_types)
        if any_mamba and config.srte_encoding != "none" and config.srte_share_across_layers:
            self.srte = Srte(config)
        self.layers = nn.ModuleList(Layer(config, i) for i in range(config.num_hidden_layers))
        self.norm = make_norm(config)
        self.post_init()

    def starts_of(self, shape, document_starts, attention_mask, cache, device):
        """[B, L] bool: tokens that begin a document."""
        batch, length = shape
        starts = torch.zeros(batch, length, dtype=torch.bool, device=device)
        fresh = cache is None or cache.document is None
        if fresh:
            starts[:, 0] = True
        if document_starts:
            rows = document_starts if isinstance(document_starts[0], (list, tuple)) else [document_starts]
            if len(rows) != batch:
                raise ValueError(f"document_starts: expected {batch} lists, got {len(rows)}")
            for b, row in enumerate(rows):
                for t in row:
                    if not 0 <= t < length:
                        raise ValueError(f"document_starts: {t} is outside the row of {length} tokens")
                    starts[b, t] = True
        if attention_mask is not None and not bool(attention_mask.bool().all()):
            mask = attention_mask.bool()
            rising = mask[:, 1:] & ~mask[:, :-1]
            falling = mask[:, :-1] & ~mask[:, 1:]
            if bool((rising.sum(1) > 1).any()) or bool((rising.any(1) & falling.any(1)).any()):
                raise ValueError("attention_mask: padding inside a row")
            if cache is not None and bool(falling.any()):
                raise ValueError("attention_mask: padding on the right of a row that has a cache")
            first = cache.seen if cache is not None else 0
            if mask.shape[1] != first + length:
                raise ValueError(f"attention_mask: expected {first + length} columns, got {mask.shape[1]}")
            mask = F.pad(mask, (1, 0), value=True)
            starts |= (mask[:, 1:] & ~mask[:, :-1])[:, first:]
        return starts

    def forward(self, input_ids, attention_mask=None, document_starts=None, past_key_values=None, use_cache=False, dropped=None,
                output_hidden_states=False):
        cache = past_key_values
        if cache is None and use_cache:
            cache = FusionTreeCache(len(self.layers))
        batch, length = input_ids.shape
        starts = self.starts_of((batch, length), document_starts, attention_mask, cache, input_ids.device)
        index = torch.arange(length, device=input_ids.device).expand(batch, length)
        last = torch.where(starts, index, torch.full_like(index, -1)).cummax(1).values  # -1: the document is from before
        if cache is None or cache.document is None:
            before_document, before_position = index.new_zeros(batch), index.new_zeros(batch)
        else:
            before_document, before_position = cache.document, cache.position
        positions = torch.where(last >= 0, index - last, index + before_position[:, None])
        documents = before_document[:, None] + starts.long().cumsum(1)
        every = documents
        if cache is not None and cache.documents is not None:
            every = torch.cat((cache.documents, documents), dim=1)

        config = self.config
        if dropped is None and self.training and config.drop_branch_prob > 0:
            dropped = torch.zeros(len(self.layers), batch, length, dtype=torch.long, device=input_ids.device)
            for layer in dropped:
                for b in range(batch):
                    for document in documents[b].unique():
                        if torch.rand(()) < config.drop_branch_prob:
                            layer[b, documents[b] == document] = DROP_MAMBA if torch.rand(()) < 0.5 else DROP_ATTENTION

        x = F.dropout(self.embed_tokens(input_ids), config.dropout, self.training)
        srte = self.srte(positions) if hasattr(self, "srte") else None
        hidden, gates = [x], []
        for i, layer in enumerate(self.layers):
            past = cache.layers[i] if cache is not None else {}
            x, gate = layer(x, srte, positions, starts, every, past, None if dropped is None else dropped[i])
            hidden.append(x)
            gates.append(gate)
        x = hidden[-1] = self.norm(x)
        if cache is not None:
            cache.seen += length
            cache.documents, cache.document, cache.position = every, documents[:, -1], positions[:, -1] + 1
        return FusionTreeModelOutput(
            last_hidden_state=x, past_key_values=cache, hidden_states=tuple(hidden) if output_hidden_states else None,
            gates=tuple(gates), documents=documents, dropped=dropped)


def target_mask(labels, documents, real):
    """[B, L - 1] bool: token t has a target t + 1."""
    return (labels[:, 1:] != -100) & (documents[:, 1:] == documents[:, :-1]) & real[:, 1:] & real[:, :-1]


def lm_loss(logits, labels, mask):
    if not bool(mask.any()):
        raise ValueError("lm loss: no token of the step has a target")
    return F.cross_entropy(wide(logits)[:, :-1][mask], labels[:, 1:][mask])


def distill_loss(logits, teacher_logits, mask, temperature):
    student = torch.log_softmax(wide(logits)[:, :-1][mask] / temperature, dim=-1)
    teacher = torch.log_softmax(wide(teacher_logits)[:, :-1][mask] / temperature, dim=-1)
    return temperature ** 2 * (teacher.exp() * (teacher - student)).sum(-1).mean()


def gate_losses(gates, counted, target=0.5, margin=0.1):
    """gates: per layer [B, L, C] or None; counted: per layer [B, L] bool."""
    terms = {"balance": [], "balance_per_channel": [], "entropy": [], "polarise": []}
    for gate, tokens in zip(gates, counted):
        if gate is None or not bool(tokens.any()):
            continue
        g = gate[tokens]  # [tokens, C]

        def outside(mean):
            return torch.relu(target - margin - mean) + torch.relu(mean - target - margin)

        terms["balance"].append(outside(g.mean()))
        terms["balance_per_channel"].append(outside(g.mean(0)).mean())
        terms["entropy"].append(-(torch.special.entr(g) + torch.special.entr(1 - g)).mean())
        terms["polarise"].append((g * (1 - g)).mean())
    return {name: torch.stack(values).mean() if values else torch.zeros(()) for name, values in terms.items()}


def total_loss(losses, balance=0.0, entropy=0.0, polarise=0.0, distill=0.0, per_channel=False):
    total = losses["lm"] + balance * losses["balance_per_channel" if per_channel else "balance"]
    total = total + entropy * losses["entropy"] + polarise * losses["polarise"]
    return total + distill * losses["distill"] if "distill" in losses else total


class FusionTreeForCausalLM(FusionTreePreTrainedModel, GenerationMixin):
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.model = FusionTreeModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def set_input_embeddings(self, value):
        self.model.embed_tokens = value

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, value):
        self.lm_head = value

    @classmethod
    def _supports_default_dynamic_cache(cls):
        return False

    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, attention_mask=None, use_cache=True, **kwargs):
        if use_cache and past_key_values is None:
            past_key_values = FusionTreeCache(self.config.num_hidden_layers)
        seen = past_key_values.seen if past_key_values is not None else 0
        return {"input_ids": input_ids[:, seen:], "attention_mask": attention_mask, "past_key_values": past_key_values,
                "use_cache": use_cache}

    def forward(self, input_ids=None, attention_mask=None, document_starts=None, past_key_values=None, labels=None,
                teacher_logits=None, distill_temperature=1.0, dropped=None, use_cache=None, output_hidden_states=None,
                return_dict=None, logits_to_keep=0, **kwargs):
        out = self.model(
            input_ids, attention_mask=attention_mask, document_starts=document_starts, past_key_values=past_key_values,
            use_cache=bool(use_cache), dropped=dropped, output_hidden_states=bool(output_hidden_states))
        kept = out.last_hidden_state[:, -logits_to_keep:] if logits_to_keep else out.last_hidden_state
        logits = self.lm_head(kept)

        real = torch.ones_like(input_ids, dtype=torch.bool)
        if attention_mask is not None:
            real = attention_mask[:, -input_ids.shape[1]:].bool()
        counted = [real if out.dropped is None else real & (out.dropped[i] == 0) for i in range(len(out.gates))]
        losses = gate_losses(out.gates, counted)
        if labels is not None:
            mask = target_mask(labels, out.documents, real)
            losses["lm"] = lm_loss(logits, labels, mask)
            if teacher_logits is not None:
                losses["distill"] = distill_loss(logits, teacher_logits, mask, distill_temperature)
        return FusionTreeOutput(
            loss=losses.get("lm"), losses=losses, logits=logits, past_key_values=out.past_key_values,
            hidden_states=out.hidden_states, gates=out.gates)
