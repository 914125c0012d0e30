#include <doctest/doctest.h>

#include <smolvlm/core/host_tensor.hpp>
#include <smolvlm/vision/patch_grid.hpp>

#include "support/error_text.hpp"

using namespace smolvlm;
using namespace testing;
using Int32s = std::vector<std::int32_t>;

namespace {

Int32s along_one_edge(Index real, Index n) {
    return patch_position_ids(std::vector<bool>(static_cast<std::size_t>(real), true), 1, real, n);
}

Int32s count_up(Index n) {
    Int32s ids;
    for (Index i = 0; i < n; ++i) ids.push_back(static_cast<std::int32_t>(i));
    return ids;
}

VisionConfig config_of(Index grid, Index patch) {
    VisionConfig config;
    config.image_size = grid * patch;
    config.patch_size = patch;
    return config;
}

}  // namespace

TEST_CASE("patch grid: a full tile of the released models counts its patches 0, 1, 2, ...") {
    for (Index n : {27, 32}) {
        const auto grid = make_patch_grid(config_of(n, 14), 2, n * 14 + (n == 27 ? 6 : 0), n * 14);
        CHECK(grid.rows == n);
        CHECK(grid.cols == n);
        const Int32s one = count_up(n * n);
        CHECK(Int32s(grid.position_ids.begin(), grid.position_ids.begin() + n * n) == one);
        CHECK(Int32s(grid.position_ids.begin() + n * n, grid.position_ids.end()) == one);
        CHECK(grid.key_rows.empty());
        REQUIRE(grid.segments.size() == 2);
        CHECK(grid.segments[1].q0 == n * n);
        CHECK(grid.segments[1].k0 == n * n);
        CHECK(grid.segments[1].keys == n * n);
        CHECK_FALSE(grid.segments.causal());
    }
}

TEST_CASE("patch grid: rounding decides on the boundaries, as it does in torch") {
    // bucketize(arange(n) * (1 / n), arange(1/n, 1.0, 1/n), right=True) in float32 is 0, 1, ..., n - 1 but for these n.
    const Int32s irregular{19, 25, 29, 31, 38, 40, 41, 43, 47, 49, 50, 54, 55, 58, 59, 61, 62};
    for (Index n = 1; n <= 64; ++n) {
        CAPTURE(n);
        const bool counts_up = along_one_edge(n, n) == count_up(n);
        CHECK(counts_up == (std::ranges::find(irregular, n) == irregular.end()));
    }
    CHECK(along_one_edge(19, 19) == Int32s{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11, 13, 14, 15, 16, 17, 18});
    CHECK(along_one_edge(31, 31) == Int32s{0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                           16, 16, 18, 19, 20, 20, 22, 23, 24, 24, 26, 27, 28, 28, 30});
}

TEST_CASE("patch grid: a smaller picture is spread over the table") {
    CHECK(along_one_edge(1, 8) == Int32s{0});
    CHECK(along_one_edge(2, 8) == Int32s{0, 4});
    CHECK(along_one_edge(4, 8) == Int32s{0, 2, 4, 6});
    CHECK(along_one_edge(5, 8) == Int32s{0, 1, 3, 4, 6});  // 0, 1.6, 3.2, 4.8, 6.4
    CHECK(along_one_edge(16, 8) == Int32s{0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7});
}

TEST_CASE("patch grid: rows and columns are fractions of their own counts; padding takes id 0") {
    // 3 x 2 real patches of 4 x 4, table 8 x 8: rows at 0, 2.67, 5.33 -> 0, 2, 5; columns at 0, 4
    std::vector<bool> on(16, false);
    for (std::size_t row : {0u, 1u, 2u}) on[row * 4] = on[row * 4 + 1] = true;
    CHECK(patch_position_ids(on, 4, 4, 8) == Int32s{0, 4, 0, 0, 16, 20, 0, 0, 40, 44, 0, 0, 0, 0, 0, 0});
}

TEST_CASE("patch grid: real patches of any form: the first row and column count, as in transformers") {
    // Two real patches in the first column, three in the first row, and one at (2, 2) beyond both counts.
    const std::vector<bool> on{true, true, true, false, true, false, false, false, false, false, true, false};
    // rows: 0, 1/2 -> 4, 1 -> the last cell 7; columns: 0, 1/3 -> 2, 2/3 -> 5
    CHECK(patch_position_ids(on, 3, 4, 8) == Int32s{0, 2, 5, 0, 32, 0, 0, 0, 0, 0, 61, 0});
    CHECK(patch_position_ids(std::vector<bool>(6, false), 2, 3, 8) == Int32s(6, 0));
}

TEST_CASE("patch grid: a patch is real if any of its pixels is, and only real patches are keys") {
    const VisionConfig config = config_of(4, 2);  // pictures of 4 x 4 pixels: 2 x 2 patches
    HostTensor<std::int64_t> mask = HostTensor<std::int64_t>::zeros({3, 4, 4});
    for (Index y = 0; y < 4; ++y)
        for (Index x = 0; x < 4; ++x) mask.view()(0, y, x) = 1;  // picture 0: all
    mask.view()(1, 1, 1) = 1;                                    // picture 1: one pixel of the first patch
    for (Index y = 0; y < 3; ++y) mask.view()(2, y, 0) = 1;      // picture 2: the left patches, cut short
    const auto grid = make_patch_grid(config, 3, 4, 4, mask.cview());
    CHECK(grid.key_rows == Int32s{0, 1, 2, 3, 4, 8, 10});
    CHECK(grid.position_ids == Int32s{0, 2, 8, 10, 0, 0, 0, 0, 0, 0, 8, 0});
    REQUIRE(grid.segments.size() == 3);
    CHECK(grid.segments[1].k0 == 4);
    CHECK(grid.segments[1].keys == 1);
    CHECK(grid.segments[1].n == 4);  // padding patches ask, too
    CHECK(grid.segments[2].k0 == 5);
    CHECK(grid.segments[2].keys == 2);
}

TEST_CASE("patch grid: pixels right of and below the last whole patch do not count") {
    const VisionConfig config = config_of(2, 2);
    HostTensor<std::int64_t> mask = HostTensor<std::int64_t>::zeros({1, 5, 5});
    mask.view()(0, 4, 4) = mask.view()(0, 0, 4) = mask.view()(0, 0, 0) = 1;
    const auto grid = make_patch_grid(config, 1, 5, 5, mask.cview());
    CHECK(grid.rows == 2);
    CHECK(grid.key_rows == Int32s{0});
}

TEST_CASE("patch grid: pictures without a patch and masks of another size are refused") {
    CHECK(error_of([] { make_patch_grid(config_of(4, 8), 1, 7, 20); }) ==
          "vision: pictures of 7x20 pixels hold no patch of 8x8");
    const HostTensor<std::int64_t> mask({1, 8, 9});
    CHECK(error_of([&] { make_patch_grid(config_of(4, 8), 1, 8, 8, mask.cview()); }) ==
          "pixel_attention_mask is [1, 8, 9] but the pictures need [1, 8, 8]");
}
