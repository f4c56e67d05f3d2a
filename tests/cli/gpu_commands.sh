#!/usr/bin/env bash
# gpu_commands.sh - test_cuda.sh on a real GPU. Part of `make test-gpu`.
set -u
HYLAB_EMU=$HYLAB exec "$(dirname "$0")/test_cuda.sh"
