#!/usr/bin/env bash
# Everything from nothing: an environment, a robust and sparse network for handwritten digits, its undefended twin,
# attacks on both, a SavedModel and a report. Arguments go to `rsr run`, such as --output DIR.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
make_environment requirements.txt
rsr run quickstart "$@"
