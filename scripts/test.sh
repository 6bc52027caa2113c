#!/usr/bin/env bash
# Everything from nothing: an environment, the style checks and the tests. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
make_environment requirements-test.txt
ruff check .
ruff format --check .
pytest --numprocesses=2 --dist=loadfile "$@"
