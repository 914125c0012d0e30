#!/bin/sh
# Builds a program as a stranger would, runs it, and shows what it says.
#     run.sh find_package|add_subdirectory|bare SOURCE_DIR BUILD_DIR VERSION COMPILER PROGRAM.cpp [ARGUMENT...]
# BUILD_DIR is our own build tree (find_package installs from it); the work happens in its consumer/ folder.
set -eu
way=$1 source=$2 build=$3 version=$4 compiler=$5 program=$6
shift 6
work=$build/consumer/$way
rm -rf "$work"
mkdir -p "$work"

configure() { cmake -S "$source/tests/consumer/$way" -B "$work/build" -DCMAKE_CXX_COMPILER="$compiler" -DPROGRAM="$program" "$@"; }
case $way in
find_package)
    cmake --install "$build" --prefix "$work/prefix" >"$work/install.txt"
    # Moved after installing: a package holds no absolute path of the machine that made it.
    mv "$work/prefix" "$work/moved"
    configure -DCMAKE_PREFIX_PATH="$work/moved" -DEXPECTED_VERSION="$version"
    ;;
add_subdirectory) configure -DSMOLVLM_SOURCE_DIR="$source" ;;
bare)
    # No build system at all. Eigen's folder is named only where it is not the one that Debian uses.
    eigen=''
    [ -d /usr/include/eigen3 ] || eigen=${EIGEN_DIR:+-I$EIGEN_DIR}
    # shellcheck disable=SC2086
    "$compiler" -std=c++20 -I "$source/include" $eigen "$program" -o "$work/program"
    ;;
esac
[ "$way" = bare ] || cmake --build "$work/build"

cd "$source"
for built in program build/program build/program_threads; do
    [ ! -x "$work/$built" ] || { echo "== $way: $built" && "$work/$built" "$@"; }
done
