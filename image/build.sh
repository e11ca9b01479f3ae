#!/bin/sh
# build.sh PREFIX [PYTHON]: install the operator into a new directory, in the project's folder; PREFIX-plugins is for plugins.
# Everything that comes from elsewhere has the hash that is on record, and nothing is compiled.
set -eu
prefix=$1
python=${2:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore

"$python" -m venv "$work/build"
"$work/build/bin/python" -m pip install --quiet --require-hashes --only-binary=:all: -r image/build-requirements.txt
"$work/build/bin/python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$work/wheels" .

"$python" -m venv "$prefix"
"$prefix/bin/python" -m pip install --quiet --require-hashes --only-binary=:all: -r image/requirements.txt
"$prefix/bin/python" -m pip install --quiet --no-deps --no-index "$work"/wheels/*.whl
"$prefix/bin/python" -m pip check

# Its pip is for plugins. They go beside it, where they can't replace what is pinned, and are found after it.
plugins=$prefix-plugins
packages=$("$prefix/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
mkdir -p "$plugins${packages#"$prefix"}"
echo "$plugins${packages#"$prefix"}" >"$packages/plugins.pth"
cat >"$prefix/pip.conf" <<END
[global]
disable-pip-version-check = true
no-cache-dir = true
[install]
prefix = $plugins
END

"$prefix/bin/python" -m compileall -q -j 0 "$prefix/lib"
chmod -R a-w,a+rX "$prefix"
