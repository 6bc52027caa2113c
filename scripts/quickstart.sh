#!/usr/bin/env bash
# Create an environment, train a robust and sparse network for handwritten digits and the undefended baseline, attack
# both, export a SavedModel and write a report. Arguments are passed to `rsr run`, such as --output DIR.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
make_environment requirements.txt
rsr run quickstart "$@"
