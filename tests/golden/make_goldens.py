#!/usr/bin/env python3
"""Makes golden checkpoint folders: tiny random models of public families, run by the families' own code.

    python3 make_goldens.py NAME...        write the folders NAME beside this script (see CASES; "all": every one)
    python3 make_goldens.py --list         what there is
    python3 make_goldens.py --check DIR... load folders that hylab exported and compare with their expected.safetensors
    python3 make_goldens.py --bf16 DIR...  the relative errors of PyTorch's own bfloat16 in a folder
    python3 make_goldens.py --expect DIR... write expected.safetensors into folders that have none: any checkpoint, for hylab verify

Needs torch, transformers and safetensors in the Python that runs it (python3 -m venv, pip install). A folder holds config.json,
model.safetensors and expected.safetensors: input_ids, logits, loss, hidden.0 .. N (the input of each layer, and what follows the
final norm) and grad.NAME of the loss by tensors of the model. `hylab verify DIR` reads it.
Norm weights and biases are random too: a weight that a reader forgets shows in the outputs.
"""
import json
import os
import re
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
import torch
import transformers
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = {}


def case(name, seed, model, tokens=(2, 24), old_style=None, layout=None, grads=()):
    """A golden: `model` makes the configuration; old_style rewrites config.json as earlier versions did, layout the folder
    as another program stores it."""
    CASES[name] = dict(seed=seed, model=model, tokens=tokens, old_style=old_style, layout=layout, grads=grads)


# ---- the families; sizes are odd on purpose and keep a folder below some 150 kB
def llama3_rope():
    return transformers.LlamaConfig(
        vocab_size=41, hidden_size=32, intermediate_size=28, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        head_dim=12, max_position_embeddings=128, rms_norm_eps=1e-5, tie_word_embeddings=True,
        rope_parameters=dict(rope_type="llama3", rope_theta=5000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                             original_max_position_embeddings=32))


case("llama3-tiny", 11, llama3_rope, tokens=(2, 20), grads=("embed_tokens", "layers.1.self", "layers.0.mlp.up", "layernorm", "model.norm"))


def llama_plain():
    return transformers.LlamaConfig(
        vocab_size=47, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
        max_position_embeddings=64, rms_norm_eps=1e-6, tie_word_embeddings=False, attention_bias=True, mlp_bias=True)


def version_4(c):
    """Keys as transformers 4 wrote them."""
    rope = c.pop("rope_parameters")
    c["rope_theta"] = rope["rope_theta"]
    c["rope_scaling"] = None if rope["rope_type"] == "default" else {"type": rope["rope_type"], "factor": rope["factor"]}
    c["torch_dtype"] = c.pop("dtype", "float32")
    c["transformers_version"] = "4.40.0"
    c["pretraining_tp"] = 1
    return c


case("llama-tiny", 12, llama_plain, old_style=version_4, tokens=(2, 20), grads=("lm_head", "layers.0.self", "bias", "model.norm"))


def qwen2():
    return transformers.Qwen2Config(
        vocab_size=43, hidden_size=32, intermediate_size=24, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=1,
        max_position_embeddings=64, rms_norm_eps=1e-6, tie_word_embeddings=True, use_sliding_window=True, sliding_window=7,
        max_window_layers=1, rope_parameters=dict(rope_type="linear", rope_theta=1000.0, factor=2.5))


case("qwen2-tiny", 13, qwen2, tokens=(2, 20), grads=("layers.0.self_attn", "layers.2."))


def mistral():
    return transformers.MistralConfig(
        vocab_size=37, hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        head_dim=16, max_position_embeddings=64, rms_norm_eps=1e-5, tie_word_embeddings=False, sliding_window=5)


case("mistral-tiny", 15, mistral, tokens=(2, 20), grads=("layers.0.self_attn", "norm"))


def mamba():
    return transformers.MambaConfig(
        vocab_size=57, hidden_size=24, state_size=5, num_hidden_layers=3, conv_kernel=4, expand=2, use_bias=True, use_conv_bias=True,
        time_step_rank=3, layer_norm_epsilon=1e-5, tie_word_embeddings=True, residual_in_fp32=True)


case("mamba-tiny", 14, mamba, grads=("embeddings", "layers.1.", "norm_f"))


def mamba2(**changes):
    """More tokens than a chunk of either implementation."""
    return transformers.Mamba2Config(**(dict(
        vocab_size=53, hidden_size=20, num_heads=5, head_dim=8, n_groups=1, state_size=9, num_hidden_layers=2, conv_kernel=4, expand=2, use_bias=False,
        use_conv_bias=True, layer_norm_epsilon=1e-5, chunk_size=8, tie_word_embeddings=True, pad_token_id=None) | changes))


case("mamba2-tiny", 18, mamba2, tokens=(2, 70), grads=("embeddings", "layers.1.", "norm_f"))
case("mamba2-tiny-groups", 19, lambda: mamba2(n_groups=2, num_heads=4, head_dim=10, state_size=5, conv_kernel=3, use_bias=True,
                                              use_conv_bias=False, time_step_limit=(0.01, 0.06), tie_word_embeddings=False),
     tokens=(2, 33), grads=("lm_head", "layers.0."))


def falcon(**changes):
    """Its own sizes wherever the family lets them differ: head_dim from hidden / heads, mamba_d_ssm from expand * hidden."""
    return transformers.FalconH1Config(**(dict(
        vocab_size=41, hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=10,
        max_position_embeddings=64, rms_norm_eps=1e-5, tie_word_embeddings=False, mamba_d_ssm=36, mamba_n_heads=3, mamba_d_head=12,
        mamba_n_groups=1, mamba_d_state=7, mamba_d_conv=4, mamba_chunk_size=8, mamba_rms_norm=False, mamba_norm_before_gate=False,
        pad_token_id=None, rope_parameters=dict(rope_type="default", rope_theta=1e11), embedding_multiplier=5.656854249492381, lm_head_multiplier=0.4,
        attention_in_multiplier=1.0, attention_out_multiplier=0.9375, key_multiplier=0.39062499999999994, ssm_in_multiplier=1.25,
        ssm_out_multiplier=0.23570226039551587, mlp_multipliers=[0.8838834764831844, 0.5859375],
        ssm_multipliers=[0.3535533905932738, 0.25, 0.3535533905932738, 0.5, 0.3535533905932738]) | changes))


case("falcon-h1-tiny", 16, falcon, old_style=lambda c: falcon_version_4(c), grads=("embed", "layers.0.", "final_layernorm"))
case("falcon-h1-tiny-norm", 17, lambda: falcon(
    tie_word_embeddings=True, mamba_n_heads=6, mamba_d_head="auto", mamba_n_groups=2, mamba_d_state=5, mamba_rms_norm=True,
    mamba_norm_before_gate=True, mamba_conv_bias=False, num_key_value_heads=1, time_step_limit=(0.3, 1.5), embedding_multiplier=2.5, lm_head_multiplier=0.3,
    attention_in_multiplier=0.7, attention_out_multiplier=1.3, key_multiplier=0.6, ssm_in_multiplier=0.8, ssm_out_multiplier=1.7,
    mlp_multipliers=[1.4, 0.45], ssm_multipliers=[0.9, 1.6, 0.55, 1.35, 0.75]), grads=("embed", "layers.1.", "layers.0.mamba"))


def falcon_version_4(c):
    """As released: no limit of the step, older keys of the rotary positions, and keys that say nothing."""
    rope = c.pop("rope_parameters")
    del c["time_step_limit"]
    return c | dict(rope_theta=rope["rope_theta"], rope_scaling=None, torch_dtype=c.pop("dtype", "float32"), transformers_version="4.52.0.dev0",
                    mamba_use_mlp=True, mlp_expansion_factor=8, attn_layer_indices=None)


def qwen3():
    """Norms of q and k, a head width of its own, biases, a window in the last layers."""
    return transformers.Qwen3Config(
        vocab_size=43, hidden_size=24, intermediate_size=20, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=10,
        max_position_embeddings=64, rms_norm_eps=1e-6, tie_word_embeddings=True, attention_bias=True, use_sliding_window=True, sliding_window=6,
        max_window_layers=2, rope_parameters=dict(rope_type="default", rope_theta=1000.0))


case("qwen3-tiny", 20, qwen3, tokens=(2, 20), grads=("embed_tokens", "layers.0.self_attn", "layers.2.self"))


def smollm3():
    return transformers.SmolLM3Config(
        vocab_size=41, hidden_size=24, intermediate_size=20, num_hidden_layers=4, num_attention_heads=3, num_key_value_heads=1,
        max_position_embeddings=64, rms_norm_eps=1e-6, tie_word_embeddings=True, no_rope_layers=[1, 0, 1, 0], use_sliding_window=True,
        sliding_window=7, layer_types=["full_attention", "sliding_attention", "sliding_attention", "full_attention"], pad_token_id=None,
        rope_parameters=dict(rope_type="default", rope_theta=500.0))


case("smollm3-tiny", 21, smollm3, tokens=(2, 20), grads=("layers.0.self_attn", "layers.1.self_attn", "norm"))


def falcon_mamba():
    """Norms of dt, B and C without weights and with an epsilon of their own."""
    return transformers.FalconMambaConfig(
        vocab_size=57, hidden_size=24, state_size=5, num_hidden_layers=3, conv_kernel=4, expand=2, use_bias=True, use_conv_bias=True,
        time_step_rank=3, layer_norm_epsilon=1e-5, mixer_rms_eps=0.03, tie_word_embeddings=False, pad_token_id=None)


case("falcon-mamba-tiny", 22, falcon_mamba, grads=("embeddings", "layers.1.", "norm_f"))


def jamba():
    """No experts; attention without positions in layer 1."""
    return transformers.JambaConfig(
        vocab_size=41, hidden_size=24, intermediate_size=20, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-3,
        num_experts=1, num_experts_per_tok=1, attn_layer_period=2, attn_layer_offset=1, mamba_d_state=5, mamba_d_conv=3, mamba_expand=2,
        mamba_dt_rank=6, mamba_conv_bias=True, mamba_proj_bias=True, tie_word_embeddings=False, pad_token_id=None)


case("jamba-tiny", 33, jamba, grads=("embed_tokens", "layers.0.mamba", "layers.1.self", "final_layernorm"))


def bamba():
    """Rotary positions on a quarter of each head, in layer 1."""
    return transformers.BambaConfig(
        vocab_size=41, hidden_size=24, intermediate_size=20, num_hidden_layers=3, num_attention_heads=3, num_key_value_heads=1,
        max_position_embeddings=64, rms_norm_eps=1e-5, attn_layer_indices=[1], mamba_n_heads=6, mamba_d_head="auto", mamba_n_groups=2,
        mamba_d_state=5, mamba_d_conv=4, mamba_expand=2, mamba_chunk_size=8, tie_word_embeddings=False, pad_token_id=None,
        rope_parameters=dict(rope_type="default", rope_theta=500.0, partial_rotary_factor=0.25))


case("bamba-tiny", 24, bamba, tokens=(2, 30), grads=("embed_tokens", "layers.0.", "layers.1.self", "final_layernorm"))


def granite_hybrid(**changes):
    return transformers.GraniteMoeHybridConfig(**(dict(
        vocab_size=41, hidden_size=24, intermediate_size=20, shared_intermediate_size=18, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=0, num_experts_per_tok=0, rms_norm_eps=1e-5, max_position_embeddings=64, embedding_multiplier=12.0,
        logits_scaling=6.0, residual_multiplier=0.22, attention_multiplier=0.3, position_embedding_type="nope",
        layer_types=["linear_attention", "full_attention", "linear_attention"], mamba_n_heads=4, mamba_d_head=12, mamba_n_groups=1,
        mamba_d_state=7, mamba_d_conv=4, mamba_expand=2, mamba_chunk_size=8, tie_word_embeddings=True, pad_token_id=None) | changes))


case("granite-hybrid-tiny", 25, granite_hybrid, tokens=(2, 30), old_style=lambda c: granite_version_4(c),
     grads=("embed_tokens", "layers.0.", "layers.1.self", "model.norm"))
case("granite-hybrid-tiny-rope", 36, lambda: granite_hybrid(
    position_embedding_type="rope", rope_parameters=dict(rope_type="default", rope_theta=500.0), mamba_n_groups=2, mamba_d_state=5,
    mamba_conv_bias=False, tie_word_embeddings=False, attention_multiplier=0.6, residual_multiplier=0.7, time_step_limit=(0.3, 1.5)),
    tokens=(2, 20), grads=("layers.2.", "layers.1.self"))


def granite_version_4(c):
    """As released: the names of the layers of that version."""
    c["layer_types"] = [{"linear_attention": "mamba", "full_attention": "attention"}[k] for k in c["layer_types"]]
    return c | dict(torch_dtype=c.pop("dtype", "float32"), transformers_version="4.56.0", init_method="mup", normalization_function="rmsnorm",
                    output_router_logits=False, router_aux_loss_coef=0.01)


def nemotron_h():
    """Layers of one block each: Mamba-2, squared relu, attention without positions."""
    return transformers.NemotronHConfig(
        vocab_size=41, hidden_size=20, layers_block_type=["linear_attention", "mlp", "linear_attention", "full_attention", "mlp"],
        num_attention_heads=3, num_key_value_heads=1, head_dim=10, intermediate_size=22, mamba_num_heads=4, mamba_head_dim=6, ssm_state_size=5,
        n_groups=2, conv_kernel=4, chunk_size=8, layer_norm_epsilon=1e-5, tie_word_embeddings=False, pad_token_id=None, time_step_min=0.02,
        mlp_bias=True)


def original(folder, config, tensors):
    """A Mamba of transformers in the layout of the state-spaces releases: their keys, and one other name."""
    kind = config["model_type"]
    cfg = dict(d_state=config["state_size"], d_conv=config["conv_kernel"], expand=config["expand"], conv_bias=config["use_conv_bias"],
               bias=config["use_bias"])
    if kind == "mamba":
        cfg["dt_rank"] = config["time_step_rank"]
    else:
        cfg |= dict(layer="Mamba2", headdim=config["head_dim"], ngroups=config["n_groups"])
    theirs = dict(d_model=config["hidden_size"], n_layer=config["num_hidden_layers"], d_intermediate=0, vocab_size=config["vocab_size"] - 3,
                  ssm_cfg=cfg, attn_layer_idx=[], attn_cfg={}, rms_norm=True, residual_in_fp32=True, fused_add_norm=True,
                  pad_vocab_size_multiple=8, tie_embeddings=config["tie_word_embeddings"])
    name = lambda k: k.replace("backbone.embeddings.", "backbone.embedding.")
    weights = {name(k): v for k, v in load_file(os.path.join(folder, "model.safetensors")).items()}
    save_file(weights, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    return theirs, {name(k): v for k, v in tensors.items()}


case("mamba-ssm-tiny", 28, lambda: transformers.MambaConfig(
    vocab_size=40, hidden_size=20, state_size=4, num_hidden_layers=2, conv_kernel=3, expand=2, use_bias=False, use_conv_bias=False,
    time_step_rank=3, layer_norm_epsilon=1e-5, tie_word_embeddings=False), tokens=(2, 20), layout=original, grads=("embeddings", "layers.1.", "norm_f"))
case("mamba2-ssm-tiny", 29, lambda: mamba2(vocab_size=40, n_groups=2, num_heads=4, head_dim=10, state_size=5), tokens=(2, 33), layout=original,
     grads=("embeddings", "layers.0."))
case("nemotron-h-tiny", 27, nemotron_h, tokens=(2, 30), old_style=lambda c: nemotron_version_4(c),
     grads=("embeddings", "layers.0.", "layers.1.", "layers.3.", "norm_f"))


def nemotron_version_4(c):
    """As released: a letter for each layer."""
    kinds = c.pop("layers_block_type", None) or c.pop("layer_types")
    c.pop("layer_types", None)
    c["hybrid_override_pattern"] = "".join({"linear_attention": "M", "full_attention": "*", "mlp": "-"}[k] for k in kinds)
    return c | dict(num_hidden_layers=len(kinds), torch_dtype=c.pop("dtype", "float32"), transformers_version="4.48.0.dev0", hidden_dropout=0.0,
                    rms_norm_eps=1e-5, num_query_groups=8, residual_in_fp32=False)


# ---- making one
def randomize(model, seed):
    """Every parameter random, so that none can be forgotten: matrices N(0, 0.2), norms about 1, the rest as a perturbation."""
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        r = torch.randn(p.shape, generator=g)
        with torch.no_grad():
            if name.endswith("A_log"):
                p += 0.2 * r
            elif "dt" in name and name.endswith("bias"):
                p += 0.3 * r
            elif name.endswith(".D") or ("norm" in name and p.ndim == 1):
                p.copy_(1 + 0.3 * r)
            elif p.ndim == 1:
                p.copy_(0.2 * r)
            else:
                p.copy_(r * 0.25)


def outputs(model, ids, grads):
    model.eval()  # gradients too: there is no dropout, and no other code path in training
    model.zero_grad()
    out = model(input_ids=ids, labels=ids, output_hidden_states=True, use_cache=False)
    out.loss.backward()
    result = {"input_ids": ids, "logits": out.logits.detach().float(), "loss": out.loss.detach().float().reshape(1)}
    for i, h in enumerate(out.hidden_states):
        result[f"hidden.{i}"] = h.detach().float()
    result.update({f"grad.{n}": p.grad.float() for n, p in model.named_parameters() if any(g in n for g in grads)})
    return {k: v.contiguous().clone() for k, v in result.items()}


def hidden_check(model, tensors):
    """hidden.i must be the input of layer i and hidden.N the output of the final norm, whatever the family reports."""
    base = getattr(model, "model", None) or model.backbone
    layers, seen = base.layers, {}
    final = next(getattr(base, n) for n in ("norm", "norm_f", "final_layernorm") if hasattr(base, n))
    hooks = [l.register_forward_pre_hook(lambda _, a, k, i=i: seen.__setitem__(i, (a[0] if a else k["hidden_states"]).detach()), with_kwargs=True)
             for i, l in enumerate(layers)]
    hooks.append(final.register_forward_hook(lambda _, a, o: seen.__setitem__(len(layers), o.detach())))
    with torch.no_grad():
        model(input_ids=tensors["input_ids"], use_cache=False)
    for h in hooks:
        h.remove()
    for k in [k for k in tensors if k.startswith("hidden.")]:
        del tensors[k]
    tensors.update({f"hidden.{i}": h.float().contiguous().clone() for i, h in seen.items()})


def make(name):
    c = CASES[name]
    torch.manual_seed(c["seed"])
    config = c["model"]()
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").float()
    randomize(model, c["seed"])
    ids = torch.randint(config.vocab_size, c["tokens"], generator=torch.Generator().manual_seed(c["seed"] + 100))
    tensors = outputs(model, ids, c["grads"])
    hidden_check(model, tensors)
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    model.save_pretrained(folder)
    if os.path.exists(os.path.join(folder, "generation_config.json")):
        os.remove(os.path.join(folder, "generation_config.json"))
    path = os.path.join(folder, "config.json")
    with open(path) as f:
        written = json.load(f)
    saved = load_file(os.path.join(folder, "model.safetensors"))
    if "backbone.embeddings.weight" in saved:  # of a module that transformers 5 calls "model" in memory
        tensors = {re.sub(r"^grad\.model\.", "grad.backbone.", k): v for k, v in tensors.items()}
    if c["old_style"]:
        written = c["old_style"](written)
        with open(path, "w") as f:
            json.dump(written, f, indent=2, sort_keys=True)
            f.write("\n")
        again = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").float()
        assert torch.equal(again(input_ids=ids, use_cache=False).logits, model(input_ids=ids, use_cache=False).logits), "the old keys mean another model"
    if c["layout"]:
        written, tensors = c["layout"](folder, written, tensors)
        with open(path, "w") as f:
            json.dump(written, f, indent=2, sort_keys=True)
            f.write("\n")
    save_file(tensors, os.path.join(folder, "expected.safetensors"))
    for f in os.listdir(folder):
        os.chmod(os.path.join(folder, f), 0o644)
    size = sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder))
    print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters, {size} bytes, loss {tensors['loss'].item():.6f}")


# ---- checking exports
LIMIT = 1e-5  # relative 2-norm of the difference of float32 logits


def check(folder):
    """Loads a folder with transformers and compares logits with the expected ones that lie in it."""
    model, info = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", output_loading_info=True)
    bad = {k: v for k, v in info.items() if v}
    expected = load_file(os.path.join(folder, "expected.safetensors"))
    with torch.no_grad():
        logits = model.float().eval()(input_ids=expected["input_ids"], use_cache=False).logits
    error = ((logits - expected["logits"]).norm() / expected["logits"].norm()).item()
    good = error <= LIMIT and not bad
    print(f"{folder}: {type(model).__name__}, relative error of the logits {error:.2e} (limit {LIMIT:g}) {'PASS' if good else 'FAIL'}{f' {bad}' if bad else ''}")
    return good


def expect(folder):
    """What transformers computes from a folder, for `hylab verify`; gradients of the norms only."""
    path = os.path.join(folder, "expected.safetensors")
    if os.path.exists(path):
        sys.exit(f"{path}: is there already")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    ids = torch.randint(model.config.vocab_size, (2, 24), generator=torch.Generator().manual_seed(1))
    tensors = outputs(model, ids, ("norm",))
    hidden_check(model, tensors)
    save_file(tensors, path)
    print(f"{path}: loss {tensors['loss'].item():.6f}")


def low(folder):
    """PyTorch's own bfloat16 against the expected float32: what `hylab verify --precision bf16` may be set beside."""
    want = load_file(os.path.join(folder, "expected.safetensors"))
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.bfloat16)
    ids = want["input_ids"].long()
    out = model(input_ids=ids, labels=ids)
    out.loss.backward()
    error = lambda a, b: ((a.double() - b.double()).norm() / b.double().norm()).item()
    stored = lambda n: "grad." + (n if "grad.backbone.norm_f.weight" not in want else re.sub(r"^model\.", "backbone.", n))
    grads = {n: error(p.grad, want[stored(n)]) for n, p in model.named_parameters() if stored(n) in want}
    worst = max(grads, key=grads.get)
    print(f"{folder}: in bfloat16 logits {error(out.logits, want['logits']):.4f}, largest of {len(grads)} gradients {grads[worst]:.4f} ({worst})")


def main(args):
    print(f"python {sys.version.split()[0]}, torch {torch.__version__}, transformers {transformers.__version__}")
    torch.set_num_threads(1)
    if not args or args[0] in ("-h", "--help"):
        print(__doc__)
        return 2
    if args[0] == "--list":
        print("\n".join(CASES))
        return 0
    if args[0] == "--check":
        return 0 if all([check(d) for d in args[1:]]) else 1
    if args[0] == "--expect":
        for d in args[1:]:
            expect(d)
        return 0
    if args[0] == "--bf16":
        for d in args[1:]:
            low(d)
        return 0
    unknown = [a for a in args if a != "all" and a not in CASES]
    if unknown:
        print(f"no such golden: {', '.join(unknown)} (there are {', '.join(CASES)})", file=sys.stderr)
        return 2
    for name in CASES if "all" in args else args:
        make(name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
