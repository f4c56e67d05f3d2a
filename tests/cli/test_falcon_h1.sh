#!/usr/bin/env bash
# test_falcon_h1.sh - the Falcon-H1 reader: every factor and switch of config.json reaches the model (changed, the golden outputs no
# longer come out), and what it cannot read is refused by name.
set -u
hylab=${HYLAB:-./hylab}
golden=$(dirname "$0")/../golden/falcon-h1-tiny-norm
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
. "$(dirname "$0")/../changed.sh"
"$hylab" verify "$golden" --isa base --threads 1 >"$tmp/out" 2>&1 && ok unchanged || not_ok unchanged "$(tail -3 "$tmp/out")"
for k in embedding lm_head attention_in attention_out key ssm_in ssm_out; do changed "factor_$k" "s/\"${k}_multiplier\": [0-9.]*/\"${k}_multiplier\": 0.31/" 1 FAIL; done
before=''
for i in 0 1 2 3 4; do
  changed "factor_ssm_$i" "s/\(\"ssm_multipliers\": \[\n$before *\)[0-9.]*/\10.31/" 1 FAIL
  before="$before *[0-9.]*,\n"
done
changed factor_mlp_gate 's/\("mlp_multipliers": \[\n *\)[0-9.]*/\10.31/' 1 FAIL
changed factor_mlp_down 's/\("mlp_multipliers": \[\n *[0-9.]*,\n *\)[0-9.]*/\10.31/' 1 FAIL
changed least_step 's/\("time_step_limit": \[\n *\)[0-9.]*/\10.01/' 1 FAIL
changed most_step 's/\("time_step_limit": \[\n *[0-9.]*,\n *\)[0-9.]*/\1{"__float__": "Infinity"}/' 1 FAIL
changed most_step_python 's/\("time_step_limit": \[\n *[0-9.]*,\n *\)[0-9.]*/\1Infinity/' 1 FAIL
changed norm_place 's/"mamba_norm_before_gate": true/"mamba_norm_before_gate": false/' 1 FAIL
changed rope 's/"rope_theta": [0-9.]*/"rope_theta": 10000.0/' 1 FAIL
changed eps 's/"rms_norm_eps": 1e-05/"rms_norm_eps": 1e-02/' 1 FAIL

changed no_norm 's/"mamba_rms_norm": true/"mamba_rms_norm": false/' 2 "unknown: model.layers.0.mamba.norm.weight"
changed conv_bias 's/"mamba_conv_bias": false/"mamba_conv_bias": true/' 2 "missing: model.layers.0.mamba.conv1d.bias"
changed groups 's/"mamba_n_groups": 2/"mamba_n_groups": 1/' 2 "mamba.in_proj.weight is [98, 24]" "makes it [88, 24]"
changed groups_odd 's/"mamba_n_groups": 2/"mamba_n_groups": 4/' 2 "6 ssm heads cannot be shared out to 4 groups"
changed expand 's/"mamba_d_ssm": 36/"mamba_d_ssm": null/' 2 '"mamba_expand"' "48 channels" # 2 * 24, and 6 heads of 6
changed widths 's/"mamba_n_heads": 6/"mamba_n_heads": 5/' 2 '5 "mamba_n_heads" of "mamba_d_head" 6'
changed head_text 's/"mamba_d_head": 6/"mamba_d_head": "wide"/' 2 'must be a number or "auto"'
changed factors_few 's/"mlp_multipliers": \[\n *[0-9.]*,/"mlp_multipliers": [/' 2 '"mlp_multipliers" has 1 numbers; it must have 2'
changed factors_text 's/\("ssm_multipliers": \[\n *\)[0-9.]*/\1"a"/' 2 '"ssm_multipliers"[0]' "a number is wanted"
changed factor_zero 's/"key_multiplier": [0-9.]*/"key_multiplier": 0.0/' 2 '"key_multiplier"' "outside"
changed limit_few 's/"time_step_limit": \[\n *[0-9.]*,/"time_step_limit": [/' 2 '"time_step_limit" must be'
changed limit_text 's/\("time_step_limit": \[\n *[0-9.]*,\n *\)[0-9.]*/\1{"__float__": "NaN"}/' 2 '"NaN" is not a limit'
for k in attention_bias mamba_proj_bias projectors_bias mlp_bias; do changed "refused_$k" "s/\"$k\": false/\"$k\": true/" 2 "\"$k\": true is not supported, only false is"; done
changed refused_act 's/"hidden_act": "silu"/"hidden_act": "gelu"/' 2 '"gelu" is not supported'
changed unknown_key 's/"mamba_expand"/"mamba_expands"/' 2 '"mamba_expands" is not a key'
changed missing_key 's/"mamba_d_state": 5,//' 2 'wrong shape: model.layers.1.mamba.in_proj.weight is [98, 24], but' 'makes it [1102, 24]' # the default of the class, 256
exit $bad
