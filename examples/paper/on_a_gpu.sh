#!/usr/bin/env bash
# What the paper's model costs and learns on a GPU, in one go: tests, timings, and the preset `small` on digital speakers.
#   bash examples/paper/on_a_gpu.sh ASSETS OUT [HOURS OF VIDEO] [STEPS] [WORKERS]
# ASSETS: the CC0 assets that gesturegen-speakers names. Run it again to continue. Everything it prints is in OUT/log.txt.
set -euo pipefail
cd "$(dirname "$0")/../.."
usage="usage: on_a_gpu.sh ASSETS OUT [HOURS OF VIDEO] [STEPS] [WORKERS]"
assets=${1:?$usage} out=${2:?$usage} hours=${3:-2} steps=${4:-6000} workers=${5:-8}
mkdir -p "$out"
exec > >(tee -a "$out/log.txt") 2>&1

date --utc
python -m pytest tests/gpu -q
gesturegen bench --attention --device cuda
gesturegen bench --deviation --preset paper --device cuda
gesturegen bench --deviation --preset small --device cuda
gesturegen-speakers make "$out/speakers" --hours "$hours" --seed 3 --workers "$workers" --assets "$assets"
gesturegen pretrain-deviation "$out/speakers" "$out/small" --preset small --device cuda --cache "$out/cache" \
    --steps "$steps" --set pretrain.workers="$workers" --set pretrain.sample_every=500 --set pretrain.bundle_dtype=float16
gesturegen evaluate -m "$out/small/bundle" --data "$out/speakers" --split test -o "$out/report" --device cuda
grep check_psnr "$out/small/metrics.jsonl"
