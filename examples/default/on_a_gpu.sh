#!/usr/bin/env bash
# The recipe of the embedded default on a GPU, with more of everything: rendered speakers, both stages, measurements.
#   bash examples/default/on_a_gpu.sh ASSETS OUT [HOURS OF VIDEO] [STEPS OF STAGE 1] [STEPS OF STAGE 2] [WORKERS]
# ASSETS: the CC0 assets that gesturegen-speakers names. SPEECH=FOLDER in the environment: recordings instead of
# espeak-ng. Run it again to continue. Everything it prints is in OUT/log.txt.
set -euo pipefail
cd "$(dirname "$0")/../.."
usage="usage: on_a_gpu.sh ASSETS OUT [HOURS OF VIDEO] [STEPS OF STAGE 1] [STEPS OF STAGE 2] [WORKERS]"
assets=${1:?$usage} out=${2:?$usage} hours=${3:-2} steps=${4:-12000} steps2=${5:-6000} workers=${6:-12}
speech=(${SPEECH:+--speech "$SPEECH"})
mkdir -p "$out"
exec > >(tee -a "$out/log.txt") 2>&1

date --utc
gesturegen-speakers make "$out/speakers" --hours "$hours" --seed 11 --clip-seconds 6.4 --workers "$workers" \
    --assets "$assets" "${speech[@]}"
gesturegen-speakers make "$out/pauses" --hours "$hours" --seed 12 --clip-seconds 8 --longest-pause 3.5 \
    --workers "$workers" --assets "$assets" "${speech[@]}"
gesturegen-speakers make "$out/unseen" --hours 0.0133 --seed 31 --clip-seconds 4 --assets "$assets" "${speech[@]}"
gesturegen pretrain-deviation "$out/speakers" "$out/stage1" --config examples/default/stage1.yaml --init base \
    --device cuda --cache "$out/cache" --steps "$steps" --set pretrain.batch=32 --set pretrain.workers="$workers"
gesturegen train "$out/pauses" "$out/stage2" --config examples/default/stage2.yaml --deviation "$out/stage1/bundle" \
    --init base --device cuda --cache "$out/cache" --steps "$steps2" --set train.batch=128 --set train.precision=bf16
python examples/default/measure.py "$out/stage2/bundle" --data "$out/unseen" --split all
