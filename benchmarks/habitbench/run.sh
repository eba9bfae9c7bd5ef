#!/usr/bin/env bash
# Quality on HabitBench's dev days: builds a bundle from its log, replays its requests, scores the answers.
# usage: benchmarks/habitbench/run.sh [--results FILE]
# HABITBENCH: its folder (default ../shared/habitbench). Fails below MIN_REDUCTION (default 0.25, the relative
# reduction of defects) or MIN_WIN_LOSS (default 8.5, wins to losses and missed). FILE gets figures, command and date.
set -euo pipefail
cd "$(dirname "$0")/../.."

results=""
case "${1:-}" in
  --results) results=${2:?--results needs a file} ;;
  "") ;;
  *) sed -n '2,5s/^# //p' "$0" >&2; exit 2 ;;
esac

data=${HABITBENCH:-../shared/habitbench}
bin=.venv/bin
[ -f "$data/log.jsonl.gz" ] || { echo "habitbench: no log.jsonl.gz in $data; set HABITBENCH" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

step() {
  echo "habitbench: $*"
  "$@"
}

started=$SECONDS
step $bin/query-rewrite build --log "$data/log.jsonl.gz" --out "$work/bundle"
build_s=$((SECONDS - started))
started=$SECONDS
step $bin/query-rewrite replay --bundle "$work/bundle" --requests "$data/dev_requests.jsonl.gz" \
  --history "$data/dev_log.jsonl.gz" --out "$work/predictions.jsonl"
replay_s=$((SECONDS - started))

export PYTHONDONTWRITEBYTECODE=1 # the data's folder is not ours to write to
step $bin/python "$data/evaluate.py" "$work/predictions.jsonl"
$bin/python "$data/evaluate.py" "$work/predictions.jsonl" --json >"$work/figures.json"

# Each layer alone is only of interest to whoever reads the results.
alone=()
if [ -n "$results" ]; then
  for layer in global personal; do
    step $bin/query-rewrite replay --bundle "$work/bundle" --requests "$data/dev_requests.jsonl.gz" \
      --history "$data/dev_log.jsonl.gz" --out "$work/$layer.jsonl" --layers $layer
    $bin/python "$data/evaluate.py" "$work/$layer.jsonl" --json >"$work/$layer.json"
    alone+=(--layer-alone "$layer=$work/$layer.json")
  done
fi
$bin/python benchmarks/habitbench/judge.py "$work/figures.json" --build-seconds "$build_s" --replay-seconds "$replay_s" \
  --min-reduction "${MIN_REDUCTION:-0.25}" --min-win-loss "${MIN_WIN_LOSS:-8.5}" ${results:+--results "$results"} "${alone[@]}"
