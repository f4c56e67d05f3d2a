#!/usr/bin/env python3
"""The Llama-like and the Hymba-like model of llama-bench.yaml and hymba-bench.yaml in plain PyTorch (eager, float32): what a
user of PyTorch would write without custom kernels. Measures training steps: forward, backward, gradient clipping, AdamW.
--precision bf16 is autocast, --compile is torch.compile (it needs a C++ compiler).

The selective scan is a Python loop over time with a [B, D, N] state, or with --scan parallel a scan over all times at once, as
users of Mamba without its CUDA kernels run it; attention is scaled_dot_product_attention, causal or with a
boolean mask. Parameters carry hylab's names, so that --load takes a hylab checkpoint and --check compares logits.

  bench_torch.py --model hymba --steps 5            one JSON line a step
  bench_torch.py --model llama --serve              a driver writes "step N" to stdin and reads one JSON line for each
"""
import argparse
import json
import math
import struct
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


# ---------------------------------------------------------------------------------------------------- the model
class RMSNorm(nn.Module):
    def __init__(self, n, eps=1e-6):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(n)), eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rope_table(length, d, base=10000.0):
    angle = torch.arange(length)[:, None] * base ** (-torch.arange(0, d, 2) / d)[None, :]
    return torch.cat([angle.cos()] * 2, -1), torch.cat([angle.sin()] * 2, -1)


def rotate(x, cos, sin):  # x [B, heads, T, d], rotate-half
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


class Heads(nn.Module):
    """Attention heads; a consumer layer gets the producer's keys and values."""

    def __init__(self, c, window, producer):
        super().__init__()
        self.c, self.window, self.producer = c, window, producer
        self.sizes = [c.heads * c.d_qk] + ([c.kv_heads * c.d_qk, c.kv_heads * c.d_v] if producer else [])

    def forward(self, parts, rope, mask, kv):
        B, T = parts[0].shape[:2]
        split = lambda x, n: x.view(B, T, n, -1).transpose(1, 2)
        q = rotate(split(parts[0], self.c.heads), *rope)
        if self.producer:
            group = self.c.heads // self.c.kv_heads
            k, v = rotate(split(parts[1], self.c.kv_heads), *rope), split(parts[2], self.c.kv_heads)
            kv = (k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)) if group > 1 else (k, v)
        o = F.scaled_dot_product_attention(q, *kv, attn_mask=mask if self.window else None, is_causal=not self.window)
        return o.transpose(1, 2).reshape(B, T, -1), kv


def selective_scan(x, dt, A, B, C, D):  # x, dt [B,T,D], A [D,N], B, C [B,T,N]
    h, ys = x.new_zeros(x.shape[0], x.shape[2], A.shape[1]), []
    # unbind, not [:, t]: the backward of indexing fills a whole [B,T,D] with zeros for every t
    for x_t, dt_t, B_t, C_t in zip(x.unbind(1), dt.unbind(1), B.unbind(1), C.unbind(1)):
        h = torch.exp(dt_t.unsqueeze(-1) * A) * h + (dt_t * x_t).unsqueeze(-1) * B_t.unsqueeze(1)
        ys.append((h @ C_t.unsqueeze(-1)).squeeze(-1))
    return torch.stack(ys, 1) + D * x


def scan_pairs(a, b):  # h_t = a_t h_(t-1) + b_t over dimension 1: neighbours joined, half as many scanned, the others filled in
    if a.shape[1] == 1:
        return b
    n = a.shape[1] // 2 * 2
    odd = scan_pairs(a[:, 1::2] * a[:, 0:n:2], b[:, 1::2] + a[:, 1::2] * b[:, 0:n:2])
    h = torch.empty_like(b)
    h[:, 1::2], h[:, 0] = odd, b[:, 0]
    h[:, 2::2] = b[:, 2::2] + a[:, 2::2] * odd[:, : (a.shape[1] - 1) // 2]
    return h


class ParallelScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        h = scan_pairs(a, b)
        ctx.save_for_backward(a, h)
        return h

    @staticmethod
    def backward(ctx, dh):
        a, h = ctx.saved_tensors
        later = torch.cat([a[:, 1:], torch.ones_like(a[:, :1])], 1)
        db = scan_pairs(later.flip(1), dh.flip(1)).flip(1)  # g_t = dh_t + a_(t+1) g_(t+1)
        return torch.cat([torch.zeros_like(h[:, :1]), db[:, 1:] * h[:, :-1]], 1), db


def parallel_scan(x, dt, A, B, C, D):
    h = ParallelScan.apply(torch.exp(dt.unsqueeze(-1) * A), (dt * x).unsqueeze(-1) * B.unsqueeze(2))
    return (h @ C.unsqueeze(-1)).squeeze(-1) + D * x


class SSM(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        D, N, R = c.d_inner, c.d_state, c.dt_rank
        self.conv = nn.Conv1d(D, D, c.d_conv, groups=D, padding=c.d_conv - 1)
        self.x_proj, self.dt_proj = nn.Linear(D, R + 2 * N, bias=False), nn.Linear(R, D)
        self.dt_norm, self.B_norm, self.C_norm = RMSNorm(R), RMSNorm(N), RMSNorm(N)
        self.A_log = nn.Parameter(torch.log(torch.arange(1, N + 1).float()).repeat(D, 1))
        self.D = nn.Parameter(torch.ones(D))
        dt = torch.exp(torch.rand(D) * math.log(100.0) + math.log(1e-3))
        self.dt_bias = dt + torch.log(-torch.expm1(-dt))

    def forward(self, s, gate):
        c = self.c
        x = F.silu(self.conv(s.transpose(1, 2))[..., : s.shape[1]].transpose(1, 2))
        dt, B, C = self.x_proj(x).split([c.dt_rank, c.d_state, c.d_state], -1)
        dt = F.softplus(self.dt_proj(self.dt_norm(dt)))
        scan = parallel_scan if c.scan == "parallel" else selective_scan
        with torch.autocast("cpu", enabled=False):  # the state stays float32, as in Mamba's own kernels
            y = scan(*(v.float() for v in (x, dt, -torch.exp(self.A_log), self.B_norm(B), self.C_norm(C), self.D)))
        return y * F.silu(gate)


class Layer(nn.Module):
    def __init__(self, c, window, producer):
        super().__init__()
        d, self.hybrid = c.d_model, c.model == "hymba"
        self.norm, self.heads = RMSNorm(d), Heads(c, window, producer)
        self.sizes = self.heads.sizes + ([c.d_inner] * 2 if self.hybrid else [])
        self.in_proj, self.out_proj = nn.Linear(d, sum(self.sizes), bias=False), nn.Linear(c.heads * c.d_v, d, bias=False)
        if self.hybrid:
            self.ssm, self.attn_norm, self.ssm_norm = SSM(c), RMSNorm(c.d_inner), RMSNorm(c.d_inner)
        self.mlp_norm = RMSNorm(d)
        self.up, self.down = nn.Linear(d, 2 * c.d_ff, bias=False), nn.Linear(c.d_ff, d, bias=False)

    def forward(self, x, rope, mask, kv):
        parts = self.in_proj(self.norm(x)).split(self.sizes, -1)
        z, kv = self.heads(parts, rope, mask, kv)
        if self.hybrid:
            z = (self.attn_norm(z) + self.ssm_norm(self.ssm(parts[-2], parts[-1]))) / 2
        x = x + self.out_proj(z)
        gate, up = self.up(self.mlp_norm(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up), kv


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        n, hybrid = c.layers, c.model == "hymba"
        full = {0, (n - 1) // 2, n - 1} if hybrid else set(range(n))
        consumers, i = set(), 0
        while hybrid and c.kv_share and i < n - 1:  # neighbouring window layers, two by two
            if i not in full and i + 1 not in full:
                consumers.add(i + 1)
                i += 1
            i += 1
        self.embed = nn.Embedding(c.vocab, c.d_model)
        self.meta = nn.Parameter(torch.randn(c.meta, c.d_model)) if c.meta else None
        self.layers = nn.ModuleList(Layer(c, 0 if i in full else c.window, i not in consumers) for i in range(n))
        self.final_norm = RMSNorm(c.d_model)
        self.head = None if getattr(c, "tied", True) else nn.Linear(c.d_model, c.vocab, bias=False)
        for m in self.modules():
            if isinstance(m, (nn.Linear, nn.Embedding)):
                nn.init.normal_(m.weight, std=0.02)
        for m in self.modules():
            if isinstance(m, SSM):
                with torch.no_grad():
                    m.dt_proj.bias.copy_(m.dt_bias)
                    m.conv.bias.zero_()

    def forward(self, ids):  # [B,T] -> logits [B,T,vocab]
        c, m = self.c, self.c.meta
        x = self.embed(ids)
        if m:
            x = torch.cat([self.meta.expand(len(ids), -1, -1), x], 1)
        T = x.shape[1]
        rope, mask, kv = rope_table(T, c.d_qk), None, None
        if any(l.heads.window for l in self.layers):
            q, k = torch.arange(T)[:, None], torch.arange(T)[None, :]
            mask = (k <= q) & ((q - k <= c.window) | (k < m))
        for layer in self.layers:
            x, kv = layer(x, rope, mask, kv)
        return self.final_norm(x[:, m:]) @ (self.head or self.embed).weight.T

    def hylab_names(self):
        """Pairs of hylab's parameter name and the tensor here."""
        yield "embed", self.embed.weight
        if self.meta is not None:
            yield "meta", self.meta
        for i, l in enumerate(self.layers):
            own = {"norm": l.norm, "in_proj": l.in_proj, "out_proj": l.out_proj, "mlp.norm": l.mlp_norm, "mlp.up": l.up, "mlp.down": l.down}
            if l.hybrid:
                own |= {"conv.weight": l.ssm.conv, "x_proj": l.ssm.x_proj, "dt_norm": l.ssm.dt_norm, "B_norm": l.ssm.B_norm,
                        "C_norm": l.ssm.C_norm, "dt_proj.weight": l.ssm.dt_proj, "fuse.attn_norm": l.attn_norm, "fuse.ssm_norm": l.ssm_norm}
                yield f"layers.{i}.conv.bias", l.ssm.conv.bias
                yield f"layers.{i}.dt_proj.bias", l.ssm.dt_proj.bias
                yield f"layers.{i}.A_log", l.ssm.A_log
                yield f"layers.{i}.D", l.ssm.D
            for name, module in own.items():
                yield f"layers.{i}.{name}", module.weight
        yield "final_norm", self.final_norm.weight
        if self.head:
            yield "head", self.head.weight


# ---------------------------------------------------------------------------------------------------- files
def safetensors_read(path):
    kinds = {"F32": torch.float32, "I32": torch.int32, "I64": torch.int64}
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<Q", data[:8])[0]
    out = {}
    for name, t in json.loads(data[8 : 8 + n]).items():
        if name != "__metadata__":
            a, b = t["data_offsets"]
            out[name] = torch.frombuffer(bytearray(data[8 + n + a : 8 + n + b]), dtype=kinds[t["dtype"]]).view(t["shape"])
    return out


def load(model, path):
    tensors, seen = safetensors_read(path), set()
    with torch.no_grad():
        for name, p in model.hylab_names():
            p.copy_(tensors[name].view(p.shape))
            seen.add(name)
    left = [n for n in tensors if n not in seen and not n.startswith("train.")]
    if left:
        sys.exit(f"{path}: tensors that this model lacks: {', '.join(left)}")


# ---------------------------------------------------------------------------------------------------- training steps
class Trainer:
    def __init__(self, c):
        torch.manual_seed(c.seed)
        torch.set_num_threads(c.threads)
        self.c, self.model = c, Model(c)
        self.run = torch.compile(self.model) if c.compile else self.model
        matrices = [p for p in self.model.parameters() if p.dim() > 1]
        rest = [p for p in self.model.parameters() if p.dim() <= 1]
        self.optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}], lr=1e-3)
        self.random = torch.Generator().manual_seed(c.seed)

    def step(self):
        c = self.c
        tokens = torch.randint(c.vocab, (c.batch, c.length + 1), generator=self.random)
        with torch.autocast("cpu", torch.bfloat16, enabled=c.precision == "bf16"):
            logits = self.run(tokens[:, :-1])
        loss = F.cross_entropy(logits.float().reshape(-1, c.vocab), tokens[:, 1:].reshape(-1))
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss.item()

    def timed(self, steps):
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            loss = self.step()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        tokens = steps * self.c.batch * self.c.length
        return {"steps": steps, "seconds": seconds, "cpu_seconds": cpu, "tokens_per_s": tokens / seconds, "loss": loss}

    def about(self):
        n = sum(p.numel() for p in self.model.parameters())
        return {"model": self.c.model, "parameters": n, "threads": torch.get_num_threads(),
                "precision": self.c.precision, "compile": self.c.compile, "scan": self.c.scan, "torch": torch.__version__,
                "batch": self.c.batch, "length": self.c.length}


def serve(trainer):
    for line in sys.stdin:
        words = line.split()
        if len(words) == 2 and words[0] == "step" and words[1].isdigit() and int(words[1]) > 0:
            print(json.dumps(trainer.timed(int(words[1]))), flush=True)
        elif words == ["quit"]:
            return 0
        elif words:
            print(json.dumps({"error": f"not understood: {line.strip()}; write: step N, or quit"}), flush=True)
    return 0


def check(trainer, path):
    """Compares logits with those in a file of tensors input_ids [B,T] and logits [B,T,vocab]; exit status 1 above 1e-5."""
    want = safetensors_read(path)
    with torch.no_grad():
        got = trainer.model(want["input_ids"].long())
    error = ((got.double() - want["logits"].double()).norm() / want["logits"].double().norm()).item()
    print(json.dumps({"relative_error": error, "limit": 1e-5, "ok": error <= 1e-5}))
    return 0 if error <= 1e-5 else 1


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", choices=["llama", "hymba"], default="llama")
    shapes = {"layers": 8, "d-model": 256, "vocab": 4096, "length": 512, "batch": 8, "threads": 2, "heads": 4, "d-qk": 64,
              "d-state": 16, "d-conv": 4, "dt-rank": 16, "window": 128, "seed": 1}
    for name, default in shapes.items():
        p.add_argument(f"--{name}", type=int, default=default, help=f"({default})")
    for name, llama, hymba in [("kv-heads", 4, 2), ("d-v", 64, 128), ("d-ff", 704, 288), ("meta", 0, 16)]:
        p.add_argument(f"--{name}", type=int, help=f"({llama} for llama, {hymba} for hymba)")
    p.add_argument("--no-kv-share", dest="kv_share", action="store_false", help="every window layer makes its own keys and values")
    p.add_argument("--steps", type=int, default=5, help="training steps, one JSON line each (5)")
    p.add_argument("--serve", action="store_true", help='read "step N" lines from stdin, answer each with a JSON line')
    p.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="bf16: autocast (f32)")
    p.add_argument("--compile", action="store_true", help="torch.compile: the first step takes minutes")
    p.add_argument("--scan", choices=["loop", "parallel"], default="loop", help="of the hymba model (loop)")
    p.add_argument("--load", metavar="FILE", help="a hylab checkpoint of the same shapes")
    p.add_argument("--check", metavar="FILE", help="compare logits with a safetensors file of input_ids and logits, then stop")
    c = p.parse_args()
    for name, llama, hymba in [("kv_heads", 4, 2), ("d_v", 64, 128), ("d_ff", 704, 288), ("meta", 0, 16)]:
        if getattr(c, name) is None:
            setattr(c, name, hymba if c.model == "hymba" else llama)
    c.d_inner = c.heads * c.d_v
    trainer = Trainer(c)
    if c.load:
        load(trainer.model, c.load)
    print(json.dumps(trainer.about()), flush=True)
    if c.check:
        return check(trainer, c.check)
    if c.serve:
        return serve(trainer)
    for _ in range(c.steps):
        print(json.dumps(trainer.timed(1)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
