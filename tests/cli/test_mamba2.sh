#!/usr/bin/env bash
# test_mamba2.sh - the reader of transformers' Mamba-2 folders: every switch of config.json reaches the model (changed, the golden
# outputs no longer come out), and what it cannot read is refused by name. That the goldens agree is in test_verify.sh.
set -u
hylab=${HYLAB:-./hylab}
golden=$(dirname "$0")/../golden/mamba2-tiny-groups
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
. "$(dirname "$0")/../changed.sh"
changed least_step 's/\("time_step_limit": \[\n *\)[0-9.]*/\10.001/' 1 FAIL
changed most_step 's/\("time_step_limit": \[\n *[0-9.]*,\n *\)[0-9.]*/\1{"__float__": "Infinity"}/' 1 FAIL
changed most_step_python 's/\("time_step_limit": \[\n *[0-9.]*,\n *\)[0-9.]*/\1Infinity/' 1 FAIL
changed eps 's/"layer_norm_epsilon": 1e-05/"layer_norm_epsilon": 1e-02/' 1 FAIL
changed chunk_is_nothing 's/"chunk_size": 8/"chunk_size": 256/' 0 PASS
changed groups 's/"n_groups": 2/"n_groups": 1/' 2 "mixer.in_proj.weight is [104, 20]" "makes it [94, 20]"
changed groups_odd 's/"n_groups": 2/"n_groups": 3/' 2 "4 ssm heads cannot be shared out to 3 groups"
changed state 's/"state_size": 5/"state_size": 6/' 2 "mixer.in_proj.weight"
changed heads 's/"num_heads": 4/"num_heads": 5/' 2 '"num_heads" * "head_dim" is 50, but "expand" * "hidden_size" is 40'
changed heads_huge 's/"num_heads": 4/"num_heads": 1048576/' 2 '"num_heads" * "head_dim" is 10485760: at most'
changed expand 's/"expand": 2/"expand": 3/' 2 'is 40, but "expand" * "hidden_size" is 60'
changed conv 's/"conv_kernel": 3/"conv_kernel": 4/' 2 "mixer.conv1d.weight"
changed bias 's/"use_bias": true/"use_bias": false/' 2 "unknown: backbone.layers.0.mixer.in_proj.bias"
changed conv_bias 's/"use_conv_bias": false/"use_conv_bias": true/' 2 "missing: backbone.layers.0.mixer.conv1d.bias"
changed tied 's/"tie_word_embeddings": false/"tie_word_embeddings": true/' 2 "lm_head.weight"
changed refused_act 's/"hidden_act": "silu"/"hidden_act": "gelu"/' 2 '"gelu" is not supported'
changed limit_order 's/\("time_step_limit": \[\n *\)[0-9.]*/\15.0/' 2 "dt_max (0.06) is below dt_min (5)"
changed unknown_key 's/"state_size"/"state_sizes"/' 2 '"state_sizes" is not a key'
changed missing_key 's/"num_heads": 4,//' 2 '"num_heads" * "head_dim" is 1280, but' # the default of the class, 128
exit $bad
