# tiny.sh - sourced by tests that train as little as can be, in a folder of their own: writes m.yaml there. $T: options of a task for it,
# $B: with the batch.
cat >m.yaml <<'END'
{vocab: 40, d_model: 8, layers: 1, mixer: attention, attention: {heads: 2}, mlp: {d_ff: 8}}
END
T="--task mqar --task-set vocab=40 --task-set train=[[16,2]] --task-set test=[[16,2]] --task-set test_examples=8 --threads 1"
B="$T --train batch=2"
