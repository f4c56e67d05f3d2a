"""A walk through a small hybrid: what its attention and SSM heads look at, how far back, and what each of them is
worth.

Run it as it is, or cell by cell in an editor that knows `# %%`. Needs the hylab package; draws if matplotlib is
there.
"""

# %% A hybrid model that has learned something: seconds on a laptop
# MQAR: a sequence gives pairs of keys and values; where a key comes again, the model has to answer its value.
import os
import tempfile

import numpy as np

import hylab

out = os.environ.get("OUT") or tempfile.mkdtemp()
options = dict(vocab=40, train=[[16, 2]], test=[[16, 2]])
model = os.path.join(out, "hybrid.safetensors")
variant = os.path.join(out, "hybrid.yaml")
with open(variant, "w") as f:  # tokens must be large where they enter so small a model: variants/README.md
    f.write("""
d_model: 32
layers: 2
vocab: 40
mixer: parallel
attention: {heads: 2, kv_heads: 1}
ssm: {expand: 2, d_state: 8}
meta_tokens: 4
mlp: {kind: silu, d_ff: 64}
init: {std: 0.1}
multipliers: {embedding: 8}
""")
task_options = [f"{k}={v}" for k, v in options.items()]
hylab.command(
    "train",
    variant,
    "--task",
    "mqar",
    *[a for o in task_options for a in ("--task-set", o)],
    "--train",
    "steps=600",
    "--train",
    "batch=32",
    "--train",
    "lr=3e-3",
    "--out",
    model,
)

# %% What it is
m = hylab.load(model)
print(m)
print("meta tokens:", m.meta_tokens, " heads by layer:", m.heads)
print("some of its values:", list(m.values)[:8], "...")

# %% What it answers
task = hylab.Task("mqar", **options)
ids, labels = task.example(0)
nats, predicted = m.loss(ids, labels)
for at in np.flatnonzero(labels >= 0):
    print(f"position {at}: key {ids[at]}, wanted {labels[at]}, answered {predicted[at]} ({nats[at]:.2f} nats)")
many, wanted = task.examples(100)
_, predicted = m.loss(many, wanted)
accuracy = (predicted == wanted)[wanted >= 0].mean()
print(
    f"accuracy over 100 examples: {accuracy:.1%} "
    f"(a guess among the values of an example: {task.cells['eval'][0]['chance']:.0%})"
)

# %% Where its heads look: maps [S, S], a row for each position, the meta tokens first
attention, ssm = m.maps(ids, head="each"), m.maps(ids, kind="ssm")
at = np.flatnonzero(labels >= 0)[-1]
answer = m.meta_tokens + at  # the position of the last answer
value = (
    m.meta_tokens + np.flatnonzero(ids == ids[at])[0] + 1
)  # where the value stands that it has to give: after its key
for layer in range(m.layers):
    for head, a in enumerate(attention[layer]):
        best = np.argsort(-a[answer])[:3]
        print(
            f"layer {layer}, head {head} at the last answer ({answer}) looks at",
            ", ".join(f"{j} ({a[answer, j]:.0%})" for j in best) + f"; on the value ({value}): {a[answer, value]:.0%}",
        )
    print(
        f"layer {layer}, SSM: mean distance of that row "
        f"{ssm[layer][answer] @ (answer - np.arange(len(ssm[layer]))):.1f} positions"
    )

# %% The maps are the model: attention's own output, from its map and its values
layer = 0
seen = m.activations(ids, f"layers.{layer}.attn.*")
v = seen[f"layers.{layer}.attn.v"]  # one KV head serves both heads
again = np.concatenate([attention[layer][h] @ v for h in range(2)], axis=1)
print("largest difference from the model's own:", np.abs(again - seen[f"layers.{layer}.attn.out"]).max())

# %% How far back it looks: the effective receptive field (Hymba, appendix B, eq. 5), over 20 examples
for heads in ("halves", "attention", "ssm"):
    erf = m.erf(many[:20], heads=heads)
    print(f"ERF, {heads}: {erf:.2f} tokens; by layer: {np.round(erf.layers['layer'], 2)}")

# %% What each branch is worth: the loss without it, on the same examples
worth = m.ablate(task, parts="branches", examples=64)
print(f"loss of the whole model: {worth.intact_loss.mean():.3f} nats")
for row in worth.rows():
    print(
        f"without {row['part']}: {row['loss_rise']:+.3f} nats, 95 % interval [{row['low']:+.3f}, {row['high']:+.3f}], "
        f"accuracy {-row['accuracy_drop']:+.0%}"
    )
heads = m.ablate(task, parts="heads", examples=64)
print("the head that is missed most:", heads.names[int(np.argmax(heads.loss_rise))])

# %% As a table, with pandas
try:
    print(worth.frame().round(3).to_string(index=False))
except hylab.Error as e:
    print(e)

# %% As a picture, with matplotlib
try:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(m.layers, 3, figsize=(9, 3 * m.layers))
    for layer in range(m.layers):
        for ax, (title, a) in zip(
            axes[layer],
            ((f"layer {layer}, head 0", attention[layer][0]), ("head 1", attention[layer][1]), ("SSM", ssm[layer])),
        ):
            ax.imshow(a, cmap="viridis"), ax.set_title(title), ax.set_xlabel("key"), ax.set_ylabel("query")
    figure.tight_layout()
    figure.savefig(os.path.join(out, "maps.png"))
    print("maps:", os.path.join(out, "maps.png"))
except ImportError:
    print("no matplotlib: no picture (hylab probe --out DIR draws maps without it)")
m.close()
