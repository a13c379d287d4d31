#!/usr/bin/env bash
# One run as many Slurm jobs: prepare, an array of shards, merge. Each begins when the one before has ended well.
#
#   bash submit.sh sweep.toml runs/x 16
#
# Partition, account, GPUs and time stand at the top of the three .sbatch files. Submit it again to go on with what has
# failed or run out of time: what is recorded is kept. Folders must be on a disk that all nodes see.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export SPEC=${1:?a specification, as sweep.toml} RUN=${2:?a run directory, as runs/x} SHARDS=${3:?a number of shards}

mkdir -p "$RUN.logs"
# sbatch --parsable prints "JOB" or "JOB;CLUSTER".
prepare=$(sbatch --parsable --output="$RUN.logs/%x-%j.out" "$here/prepare.sbatch")
shards=$(sbatch --parsable --output="$RUN.logs/%x-%A-%a.out" --dependency="afterok:${prepare%%;*}" \
  --array="1-$SHARDS" "$here/shard.sbatch")
merge=$(sbatch --parsable --output="$RUN.logs/%x-%j.out" --dependency="afterok:${shards%%;*}" "$here/merge.sbatch")
echo "prepare ${prepare%%;*}, shards ${shards%%;*}, merge ${merge%%;*}; logs in $RUN.logs"
