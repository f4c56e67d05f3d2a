#!/usr/bin/env python3
"""What a user of PyTorch would run instead of the kernels and models that bench_gpu times, on the same GPU: scaled_dot_product_attention
(causal), FlexAttention (with the same window mask, compiled), compiled elementwise code, the library's products, cross-entropy and
fused AdamW; and the models of bench_torch.py, eager and compiled. One JSON line each: {"name": ..., "seconds": ...}, the median of
device times; names are those of bench_gpu.

  bench_gpu_torch.py --what kernels --precision bf16
  bench_gpu_torch.py --what models --tiny --device cpu      tries the program where there is no GPU
"""
import argparse
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F

import bench_torch


class Clock:
    def __init__(self, c):
        self.cuda, self.reps = c.device == "cuda", 2 if c.tiny else 30

    def median(self, work, reps=None):
        reps = reps or self.reps
        for _ in range(2 if reps < 10 else 5):
            work()
        if not self.cuda:
            times = []
            for _ in range(reps):
                start = time.perf_counter()
                work()
                times.append(time.perf_counter() - start)
            return statistics.median(times)
        pairs = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(reps)]
        torch.cuda.synchronize()
        for a, b in pairs:
            a.record()
            work()
            b.record()
        torch.cuda.synchronize()
        return statistics.median(a.elapsed_time(b) for a, b in pairs) / 1e3


def say(name, seconds):
    print(json.dumps({"name": name, "seconds": seconds}), flush=True)


# ---------------------------------------------------------------------------------------------------- kernels
def backward_only(out, inputs, grad):
    return lambda: torch.autograd.grad(out, inputs, grad, retain_graph=True)


def both(c, clock, name, fn, inputs):
    """Times fn(*inputs) as `name` and its backward alone as name + _bwd (the shape follows the first word)."""
    op, shape = name.split(" ", 1)
    say(name, clock.median(lambda: fn(*inputs)))
    if c.device == "cpu" and " w" in name:  # FlexAttention has no backward there
        return
    wanted = [x for x in inputs if x.is_floating_point()]
    for x in wanted:
        x.requires_grad_()
    out = fn(*inputs)
    say(f"{op}_bwd {shape}", clock.median(backward_only(out, wanted, torch.randn_like(out))))


def rows(c, clock):
    B, T = (2, 16) if c.tiny else (16, 1024)
    new = lambda *s: torch.randn(*s, device=c.device, dtype=c.dtype)
    rms = torch.compile(lambda x, w: F.rms_norm(x, (x.shape[-1],), w, 1e-6))
    both(c, clock, f"norm {B}x{T} C1024", rms, [new(B * T, 1024), new(1024)])
    mean = torch.compile(lambda a, s, wa, ws: (F.rms_norm(a, (a.shape[-1],), wa, 1e-6) + F.rms_norm(s, (s.shape[-1],), ws, 1e-6)) / 2)
    both(c, clock, f"fuse {B}x{T} C2048", mean, [new(B * T, 2048), new(B * T, 2048), new(2048), new(2048)])
    both(c, clock, f"act {B}x{T} F2816", torch.compile(lambda x: F.silu(x[:, :2816]) * x[:, 2816:]), [new(B * T, 5632)])
    conv = lambda x, w, b: F.silu(F.conv1d(x, w, b, padding=3, groups=2048)[..., :T])
    both(c, clock, f"conv {B}x{T} D2048 K4", conv, [new(B, 2048, T), new(2048, 1, 4), new(2048)])
    both(c, clock, f"linear {B}x{T} K1024 N4096", F.linear, [new(B * T, 1024), new(4096, 1024)])
    for b in (1, 8):
        x, w = new(b, 1024), new(4096, 1024)
        say(f"linear {b}x1 K1024 N4096", clock.median(lambda: F.linear(x, w)))
    ids = torch.randint(32000, (B * T,), device=c.device)
    x, w = new(B * T, 1024).requires_grad_(), new(32000, 1024).requires_grad_()

    def loss():
        torch.autograd.grad(F.cross_entropy((x @ w.T).float(), ids, reduction="sum"), [x, w])

    say(f"lm_loss_bwd {B}x{T} C1024 V32000", clock.median(loss))
    p = torch.randn(1024 * (10 if c.tiny else 100000), device=c.device)
    p.grad = torch.randn_like(p)
    adam = torch.optim.AdamW([p], lr=0.0, weight_decay=0.1, fused=c.device == "cuda")
    say("adamw 1x1 n1024 n100000", clock.median(adam.step))


def attention(c, clock):
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    flex = torch.compile(flex_attention)
    for B, T, h, kv, dk, dv, window, meta in [(2, 8192, 16, 16, 64, 64, 0, 0), (2, 8192, 16, 16, 128, 128, 0, 0),
                                              (2, 8192, 16, 16, 64, 64, 1024, 0), (16, 1152, 16, 4, 64, 128, 256, 128)]:
        if c.tiny:
            B, T = 1, 256
        new = lambda n, d: torch.randn(B, n, T, d, device=c.device, dtype=c.dtype)
        q, k, v = new(h, dk), new(kv, dk), new(kv, dv)
        name = f"attention {B}x{T} h{h} kv{kv} dk{dk} dv{dv}" + (f" w{window}" if window else "") + (f" m{meta}" if meta else "")
        if window:
            visible = lambda b, n, i, j: (j <= i) & ((i - j <= window) | (j < meta))
            mask = create_block_mask(visible, None, None, T, T, device=c.device)
            fn = lambda q, k, v: flex(q, k, v, block_mask=mask, enable_gqa=kv != h)
        else:
            fn = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=kv != h)
        both(c, clock, name, fn, [q, k, v])


# ---------------------------------------------------------------------------------------------------- models
def shapes(model, c):
    """The sizes of 300m-hymba.yaml and 300m-llama.yaml, for bench_torch.Model."""
    a = argparse.Namespace(model=model, seed=1, threads=1, window=256, d_state=16, d_conv=4, kv_share=True, vocab=32001, tied=False)
    if model == "hymba":
        a.__dict__.update(layers=12, d_model=1024, heads=16, kv_heads=4, d_qk=64, d_v=128, d_ff=c.hymba_ff, meta=128, dt_rank=64, batch=32, length=1024)
    else:
        a.__dict__.update(layers=12, d_model=1080, heads=15, kv_heads=15, d_qk=72, d_v=72, d_ff=c.llama_ff, meta=0, dt_rank=64, batch=32, length=1024)
    if c.tiny:
        a.__dict__.update(layers=2, d_model=32, heads=2, kv_heads=1 if model == "hymba" else 2, d_qk=16, d_v=16, d_ff=32, meta=min(a.meta, 2), vocab=64, batch=2, length=16)
    a.d_inner = a.heads * a.d_v
    return a


def compile_model(model):
    """The layers compiled; the scan stays a loop over time in Python, with its body compiled: unrolled it does not compile in hours."""
    body = torch.compile(lambda h, x, dt, B, C, A: (n := torch.exp(dt.unsqueeze(-1) * A) * h + (dt * x).unsqueeze(-1) * B.unsqueeze(1),
                                                    (n @ C.unsqueeze(-1)).squeeze(-1)))

    def scan(x, dt, A, B, C, D):
        h, ys = x.new_zeros(x.shape[0], x.shape[2], A.shape[1]), []
        for parts in zip(x.unbind(1), dt.unbind(1), B.unbind(1), C.unbind(1)):
            h, y = body(h, *parts, A)
            ys.append(y)
        return torch.stack(ys, 1) + D * x

    bench_torch.selective_scan = torch.compiler.disable(scan)
    model.compile()
    return model


def models(c, clock):
    plain = bench_torch.selective_scan
    for name, kind in [("300m-llama", "llama"), ("300m-hymba", "hymba")]:
        for how in ("eager", "compiled"):
            bench_torch.selective_scan = plain
            a = shapes(kind, c)
            torch.set_default_device(c.device)
            torch.manual_seed(1)
            net = bench_torch.Model(a)
            if how == "compiled":
                net = compile_model(net)
            adam = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=c.device == "cuda")
            tokens = torch.randint(a.vocab, (a.batch, a.length + 1))

            def step():
                with torch.autocast(c.device, torch.bfloat16, enabled=c.dtype == torch.bfloat16):
                    logits = net(tokens[:, :-1])
                loss = F.cross_entropy(logits.reshape(-1, a.vocab).float(), tokens[:, 1:].reshape(-1))
                adam.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                adam.step()

            try:
                say(f"{name} training {a.batch}x{a.length} {how}", clock.median(step, 2 if c.tiny else 3 if kind == "hymba" else 10))
            except torch.OutOfMemoryError:
                print(f"{name} {how}: out of memory", file=sys.stderr)
            del net, adam


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--what", choices=["kernels", "models"], default="kernels")
    p.add_argument("--precision", choices=["bf16", "tf32", "f32"], default="bf16")
    p.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    p.add_argument("--tiny", action="store_true", help="sizes that say nothing about speed, to try the program")
    p.add_argument("--hymba-ff", type=int, default=3584, help="d_ff of 300m-hymba.yaml (%(default)s)")
    p.add_argument("--llama-ff", type=int, default=4480, help="d_ff of 300m-llama.yaml (%(default)s)")
    c = p.parse_args()
    c.dtype = torch.bfloat16 if c.precision == "bf16" else torch.float32
    torch.backends.cuda.matmul.allow_tf32 = c.precision == "tf32"
    if c.device == "cuda" and not torch.cuda.is_available():
        sys.exit("PyTorch sees no GPU")
    clock = Clock(c)
    if c.what == "models":
        models(c, clock)
    else:
        rows(c, clock)
        attention(c, clock)


if __name__ == "__main__":
    main()
