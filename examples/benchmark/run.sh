#!/usr/bin/env bash
# Three deviation models, the same data, the same budget, one protocol:
#   bash examples/benchmark/run.sh ASSETS OUT [REAL_VIDEOS]
# ASSETS: the CC0 assets that gesturegen-speakers names. REAL_VIDEOS: a folder of talking people to measure on as well.
# Run it again to continue.
set -euo pipefail
cd "$(dirname "$0")/../.."
usage="usage: run.sh ASSETS OUT [REAL_VIDEOS]"
assets=${1:?$usage} out=${2:?$usage} real=${3:-}
here=examples/benchmark
mkdir -p "$out"

gesturegen-speakers make "$out/speakers" --hours 0.6 --seed 7 --size 64 --assets "$assets"
for model in rotation tps flow; do
    preset=base
    if [ "$model" = rotation ]; then preset=rotation-tiny; fi
    gesturegen pretrain-deviation "$out/speakers" "$out/$model-1" --preset "$preset" --config "$here/$model.yaml"
    gesturegen train "$out/speakers" "$out/$model-2" --config "$here/stage2.yaml" --deviation "$out/$model-1/bundle"
done
common=(--set evaluation.frames=100) # the first four seconds of each clip
models=(-m "$out/rotation-2/bundle" -m "$out/tps-2/bundle" -m "$out/flow-2/bundle" --names rotation,tps,flow)
gesturegen evaluate "${models[@]}" "${common[@]}" --data "$out/speakers" --split test -o "$out/report"
if [ -n "$real" ]; then
    gesturegen preprocess "$real" "$out/real" --size 64
    gesturegen evaluate "${models[@]}" "${common[@]}" --data "$out/real" -o "$out/report-real"
fi
