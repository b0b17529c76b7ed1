# Shared by the scripts of this folder: source it, after `set -euo pipefail`.
# shellcheck shell=bash

# The top of the repository, and where cargo puts what it builds.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034
TARGET=$(realpath -m "${CARGO_TARGET_DIR:-$ROOT/target}")

say() { printf '\n== %s\n' "$*"; }

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# as_root CMD…: runs CMD as root, through sudo where needed; fails where that is not possible.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo "$@"
    else
        return 1
    fi
}

# missing_packages NEED=PACKAGE…: the packages whose need is not here, one a line. A need is a
# command, or the absolute path of a file.
missing_packages() {
    local pair need
    for pair in "$@"; do
        need=${pair%%=*}
        case $need in
            /*) [ -e "$need" ] ;;
            *) command -v "$need" >/dev/null ;;
        esac || printf '%s\n' "${pair#*=}"
    done | sort -u
}

# install_missing NEED=PACKAGE…: installs the Debian packages whose need is not here.
install_missing() {
    local packages
    mapfile -t packages < <(missing_packages "$@")
    if [ "${#packages[@]}" -eq 0 ]; then
        return 0
    fi
    say "installing ${packages[*]}"
    if ! command -v apt-get >/dev/null; then
        die "this is no Debian; install what these packages hold and start again: ${packages[*]}"
    fi
    if ! as_root apt-get update -qq || ! as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null; then
        die "could not install; do it as root and start again: apt-get install ${packages[*]}"
    fi
    mapfile -t packages < <(missing_packages "$@")
    if [ "${#packages[@]}" -ne 0 ]; then
        die "still missing after the installation: ${packages[*]}"
    fi
}

# Rust comes with its own installer, which is the user's choice to run.
need_rust() {
    if ! command -v cargo >/dev/null && [ -r "${CARGO_HOME:-$HOME/.cargo}/env" ]; then
        # shellcheck disable=SC1091
        . "${CARGO_HOME:-$HOME/.cargo}/env"
    fi
    command -v cargo >/dev/null || die "cargo is missing: install Rust 1.95 or newer (rustup), then start again"
}

# What it takes to build Tacet, and to build and start MPI programs.
# shellcheck disable=SC2034
BUILD_NEEDS=(cc=gcc /usr/include/stdio.h=libc6-dev)
# shellcheck disable=SC2034
MPI_NEEDS=(mpicc.mpich=mpich mpirun.mpich=mpich /usr/include/x86_64-linux-gnu/mpich/mpi.h=libmpich-dev)
