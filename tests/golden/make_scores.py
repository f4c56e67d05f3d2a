#!/usr/bin/env python3
"""Makes tests/golden/scores: tiny random models with tokenizers, small tasks of lm-evaluation-harness, and what the harness's
own model `hf` answers to them.

    python3 make_scores.py [MODEL...]   writes scores/MODEL (config.json, weights, tokenizer) and scores/MODEL/TASK.jsonl, the
                                        documents as --log_samples writes them, and scores/MODEL/results.json
    python3 make_scores.py --compare [MODEL...]   asks `hf` and hylab (python/hylab_lm_eval) now, and prints by task: requests, choices that
                                        are the same, the largest difference of a log-likelihood; fails above 1e-3

Needs lm-eval, torch, transformers, accelerate and peft in the Python that runs it; run it in the root of the tree.
"""
import json
import os
import shutil
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
import torch
import transformers

HERE = os.path.dirname(os.path.abspath(__file__))
SCORES = os.path.join(HERE, "scores")
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "python")]
from make_goldens import falcon, randomize

# Windows shorter than many of the texts: contexts are cut on the left, pages take several windows.
LENGTH = 64
TASKS = ["tiny_choice", "tiny_blank", "tiny_last_word", "tiny_pages", "tiny_answer"]


def llama():
    return transformers.LlamaConfig(
        hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=LENGTH, rms_norm_eps=1e-5, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2)


def mamba():
    return transformers.MambaConfig(
        hidden_size=24, state_size=8, num_hidden_layers=2, conv_kernel=4, expand=2, time_step_rank=3,
        tie_word_embeddings=True, bos_token_id=400, eos_token_id=400, pad_token_id=401)


def falcon_h1():
    return falcon(max_position_embeddings=LENGTH, tie_word_embeddings=True, bos_token_id=400, eos_token_id=400, pad_token_id=401)


# name: seed, configuration, tokenizer, its BOS and EOS. The first puts BOS before a text, the others have EOS alone.
MODELS = {
    "llama": (31, llama, "llama2", "<s>", "</s>"),
    "mamba": (34, mamba, "gptneox", None, "<|endoftext|>"),
    "falcon-h1": (33, falcon_h1, "gptneox", None, "<|endoftext|>"),
}


def make_model(name):
    seed, config, tokenizer, bos, eos = MODELS[name]
    folder = os.path.join(SCORES, name)
    os.makedirs(folder, exist_ok=True)
    torch.manual_seed(seed)
    c = config()
    c.vocab_size = json_vocab(tokenizer)
    model = transformers.AutoModelForCausalLM.from_config(c, attn_implementation="eager").float()
    randomize(model, seed)
    model.save_pretrained(folder)
    if os.path.exists(os.path.join(folder, "generation_config.json")):
        os.remove(os.path.join(folder, "generation_config.json"))
    shutil.copy(os.path.join(HERE, "tokenizers", tokenizer + ".json"), os.path.join(folder, "tokenizer.json"))
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as f:
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": bos, "eos_token": eos, "model_max_length": LENGTH,
                   "clean_up_tokenization_spaces": False}, f, indent=1)
        f.write("\n")
    for f in os.listdir(folder):
        os.chmod(os.path.join(folder, f), 0o644)


def json_vocab(tokenizer):
    with open(os.path.join(HERE, "tokenizers", tokenizer + ".json")) as f:
        j = json.load(f)
    return max([*j["model"]["vocab"].values(), *(t["id"] for t in j["added_tokens"])]) + 1


def evaluate(model, arguments):
    import lm_eval
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=os.path.join(SCORES, "tasks"), include_defaults=False)
    # One sequence at a time: the harness's model gives Mamba the padding on the left of generations as tokens.
    return lm_eval.simple_evaluate(model=model, model_args=arguments, tasks=TASKS, task_manager=manager, log_samples=True, batch_size=1, device="cpu",
                                   bootstrap_iters=1000)


def arguments_of(model, folder):
    return f"pretrained={folder},dtype=float32,max_length={LENGTH}" if model == "hf" else f"path={folder},max_length={LENGTH}"


def plain(x):
    return x if isinstance(x, (int, str, type(None), bool)) else float(x) if isinstance(x, float) else str(x)


def record(name):
    folder = os.path.join(SCORES, name)
    found = evaluate("hf", arguments_of("hf", folder))
    for task, samples in found["samples"].items():
        with open(os.path.join(folder, task + ".jsonl"), "w") as f:
            for s in sorted(samples, key=lambda s: s["doc_id"]):
                s = {k: s[k] for k in ("doc_id", "doc", "target", "arguments", "resps")}
                s["arguments"] = {f"gen_args_{i}": {f"arg_{j}": a for j, a in enumerate(args)} for i, args in enumerate(s["arguments"])}
                f.write(json.dumps(s, ensure_ascii=False) + "\n")
    with open(os.path.join(folder, "results.json"), "w") as f:
        results = {t: {k: plain(v) for k, v in r.items() if k != "alias"} for t, r in found["results"].items()}
        kept = {"results": results, **{k: found[k] for k in ("versions", "n-shot", "n-samples")}}
        json.dump(kept, f, indent=1)
        f.write("\n")
    print(name, json.dumps(found["results"], default=str))


def flat(resp):
    return resp[0] if isinstance(resp, list) and len(resp) == 1 else resp


def compare(name):
    import hylab_lm_eval  # noqa: F401 - registers "hylab"

    folder = os.path.join(SCORES, name)
    theirs, ours = evaluate("hf", arguments_of("hf", folder)), evaluate("hylab", arguments_of("hylab", folder))
    good = True
    for task in TASKS:
        a, b = (sorted(x["samples"][task], key=lambda s: s["doc_id"]) for x in (theirs, ours))
        largest, n, same, choices = 0.0, 0, 0, 0
        for x, y in zip(a, b):
            rx, ry = ([flat(r) for r in s["resps"]] for s in (x, y))
            sums = []
            for p, q in zip(rx, ry):
                n += 1
                if isinstance(p, str):
                    good = good and p == q
                    same += p == q
                    continue
                lp, lq = (v if isinstance(v, float) else v[0] for v in (p, q))
                largest = max(largest, abs(lp - lq))
                same += isinstance(p, float) or bool(p[1]) == bool(q[1])
                sums.append((lp, lq))
            if len(sums) > 1:
                choices += max(range(len(sums)), key=lambda i: sums[i][0]) == max(range(len(sums)), key=lambda i: sums[i][1])
        good = good and largest <= 1e-3 and same == n
        print(f"{name:10} {task:15} {len(a)} documents, {n} requests: {same} greedy flags or texts the same, "
              f"{f'{choices} choices the same, ' if choices else ''}largest difference {largest:.1e}")
        for key, value in theirs["results"][task].items():
            if isinstance(value, float) and "stderr" not in key:
                other = ours["results"][task][key]
                print(f"{'':26} {key:28} hf {value:.6g}  hylab {other:.6g}")
                good = good and abs(value - other) <= 1e-3 * max(1, abs(value))
    return good


def main():
    names = [a for a in sys.argv[1:] if not a.startswith("--")] or list(MODELS)
    if "--compare" in sys.argv:
        sys.exit(0 if all([compare(n) for n in names]) else 1)
    for name in names:
        make_model(name)
        record(name)


if __name__ == "__main__":
    main()
