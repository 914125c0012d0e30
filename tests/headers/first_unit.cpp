// All headers in one translation unit; second_unit.cpp is the other.

#include <doctest/doctest.h>

#include "everything.hpp"

using AppendShape = void (*)(std::string&, const smolvlm::Shape&);
AppendShape address_in_second_unit();

TEST_CASE("headers: two translation units that include everything share one copy of each function") {
    const AppendShape here = &smolvlm::append_piece;
    const bool same = here == address_in_second_unit();
    CHECK(same);
}

TEST_CASE("headers: the version is a number of three parts") {
    CHECK(SMOLVLM_VERSION_MAJOR >= 0);
    CHECK(SMOLVLM_VERSION_MINOR + SMOLVLM_VERSION_PATCH + SMOLVLM_VERSION_MAJOR > 0);
}
