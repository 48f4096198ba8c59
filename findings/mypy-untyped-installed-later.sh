#!/usr/bin/env bash
# mypy says that a package cannot be found which has been installed since its last run, if that has no types.
#
# Seen with: mypy 2.4.0 (PyPI), Python 3.11; the packages are statsd 4.0.1 (no types) and attrs 25.4.0 (with types).
# Needs: python3 with venv.
#
# Expected: a run after a package has been installed says what a first run would say: its cache notices what is new, as it
#   does for a package with types.
# Happens: for one without types it says "Cannot find implementation or library stub" again and again, where a run
#   without the cache says that the package is there and has no types. So `# type: ignore[import-untyped]`, which is
#   right, is called unused, until the cache is removed or the file that imports it changes.
#
# Output (the first error of each run; "none" where there is no error):
#   attrs, not installed: import-not-found
#   attrs, installed since: none
#   statsd, not installed: import-not-found
#   statsd, installed since: import-not-found
#   statsd, without the cache: import-untyped
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install() { "$work/venv/bin/pip" install --quiet --disable-pip-version-check "$1" >"$work/pip.log" 2>&1 || { cat "$work/pip.log" >&2; exit 2; }; }
python3 -m venv "$work/venv" || exit 2
install mypy==2.4.0
cd "$work"

first_error() {
    timeout 120 venv/bin/mypy --strict --cache-dir="$1" "use_$2.py" >mypy.log 2>&1 || true
    sed -n 's/^[^ ]*: error: .*\[\([a-z-]*\)\]$/\1/p' mypy.log | head -n 1 | grep . || echo none
}

seen=
look() {
    found=$(first_error "$2" "$1")
    echo "$1, $3: $found"
    seen="$seen $found"
}

for package in attrs==25.4.0 statsd==4.0.1; do
    name=${package%%=*}
    printf 'import %s\n\nprint(%s)\n' "$name" "$name" >"use_$name.py"
    look "$name" cache "not installed"
    install "$package"
    look "$name" cache "installed since"
done
look statsd other "without the cache"

[ "$seen" = " import-not-found none import-not-found import-not-found import-untyped" ]
