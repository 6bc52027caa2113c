# Sourced by the other scripts. `make_environment FILE` creates .venv with the packages of a requirements file,
# unless it is up to date.

find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "TensorFlow 2.21 needs Python 3.11, 3.12 or 3.13; none was found on the PATH" >&2
    return 1
}

make_environment() {
    local requirements=$1 python stamp wanted
    stamp=.venv/installed-$requirements
    wanted=$(cat requirements*.txt pyproject.toml | cksum)
    if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
        python=$(find_python)
        echo "== installing the packages of $requirements into .venv"
        [ -x .venv/bin/python ] || "$python" -m venv .venv
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$requirements"
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
        echo "$wanted" > "$stamp"
    fi
    PATH="$PWD/.venv/bin:$PATH"
}
