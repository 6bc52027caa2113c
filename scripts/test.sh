#!/usr/bin/env bash
# Create an environment, check the style and run the tests. Arguments are passed to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
make_environment requirements-test.txt
ruff check .
ruff format --check .
pytest --numprocesses=2 --dist=loadfile "$@"
