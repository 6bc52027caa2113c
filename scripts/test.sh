#!/usr/bin/env bash
# Create an environment, check the style and run the tests. Arguments are passed to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
make_environment requirements-test.txt
ruff check .
ruff format --check .
# In the order of the folders: by default files with few tests come last, and those with the longest ones are among them.
pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder "$@"
