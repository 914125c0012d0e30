// The measuring sticks of the other tests measure.

#include <doctest/doctest.h>

#include <limits>

#include "support/approx.hpp"
#include "support/random_tensor.hpp"
#include "support/temp_dir.hpp"

using namespace testing;

TEST_CASE("departure: empty within tolerance, names the worst element beyond it, and never accepts NaN or another shape") {
    const auto expected = random_tensor<double>({3, 4}, 1);
    auto found = converted<float>(expected);
    CHECK(departure(found, expected, 1e-7) == "");
    CHECK(departure(found, expected, 1e-12) != "");
    CHECK(inequality(converted<double>(found), found) == "");
    CHECK(inequality(found, expected) != "");

    found.data()[5] += 1;
    CHECK(departure(found, expected, 0.1).find("element 5 of [3, 4]") == 0);
    CHECK(difference(found, expected).max_abs == doctest::Approx(1).epsilon(1e-6));
    found.data()[2] = std::numeric_limits<float>::quiet_NaN();
    CHECK(departure(found, expected, 1e9).find("element 2 of [3, 4] is nan") == 0);
    CHECK(departure(found.reshaped({4, 3}), expected, 1e9) == "shape [4, 3], expected [3, 4]");
}

TEST_CASE("temporary folder: gives back what was written and leaves nothing behind") {
    std::filesystem::path path;
    {
        const TempDir dir;
        path = dir.path();
        CHECK(read_file(dir.write("a.bin", std::string_view("x\0y", 3))) == std::string("x\0y", 3));
    }
    CHECK(!std::filesystem::exists(path));
}
