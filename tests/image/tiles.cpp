#include <smolvlm/image/tiles.hpp>

#include <doctest/doctest.h>

#include "golden.hpp"

using namespace smolvlm;
using namespace testing;

TEST_CASE("tiles: sizes and grids of several hundred pictures equal the reference's") {
    const Json grids = golden_json("image_grid.json");
    Index seen = 0;
    for (const auto& [name, rows] : grids.items()) {
        if (!rows.is_array()) continue;
        const TileRule rule{std::stoll(name), std::stoll(name.substr(name.find('/') + 1))};
        for (const Json& row : rows) {
            const std::string which = name;
            CAPTURE(which);
            CAPTURE(row.dump());
            const TilePlan plan = plan_tiles(row[0], row[1], rule);
            CHECK(plan.picture == TilePlan::Size{row[0], row[1]});
            CHECK(plan.resized == TilePlan::Size{row[2], row[3]});
            CHECK(plan.canvas == TilePlan::Size{row[4], row[5]});
            CHECK(plan.rows == row[6]);
            CHECK(plan.cols == row[7]);
            ++seen;
        }
    }
    CHECK(seen > 1000);
}

TEST_CASE("tiles: there are as many frames as tiles and one more, and the canvas holds the tiles exactly") {
    for (Index w = 1; w < 5000; w = w * 3 / 2 + 1)
        for (Index h = 1; h < 5000; h = h * 3 / 2 + 1)
            for (const TileRule& rule : {TileRule{}, TileRule{1536, 384}, TileRule{200, 64}, TileRule{64, 64}}) {
                const TilePlan plan = plan_tiles(w, h, rule);
                CHECK(plan.frames() == plan.rows * plan.cols + 1);
                if (plan.rows == 0)
                    CHECK(plan.canvas == TilePlan::Size{rule.tile, rule.tile});
                else
                    CHECK(plan.canvas == TilePlan::Size{plan.cols * rule.tile, plan.rows * rule.tile});
            }
}

TEST_CASE("tiles: without splitting every picture is one frame") {
    for (const auto& [w, h] : {std::pair<Index, Index>{1, 1}, {640, 480}, {30000, 1}, {512, 512}}) {
        TileRule rule;
        rule.do_image_splitting = false;
        for (const TilePlan& plan :
             {plan_tiles(w, h, rule), plan_tiles(w, h, TileRule{}, TileOptions{.no_split = true})}) {
            CHECK(plan.frames() == 1);
            CHECK(plan.canvas == TilePlan::Size{512, 512});
        }
    }
}

TEST_CASE("tiles: without the first resize, the picture's own size is rounded up to whole tiles") {
    TileRule rule;
    rule.do_resize = false;
    const TilePlan plan = plan_tiles(640, 480, rule);
    CHECK(plan.resized == TilePlan::Size{640, 480});
    CHECK(plan.canvas == TilePlan::Size{1024, 1024});  // the height follows the width, 768, and is rounded up again
    CHECK(plan.rows == 2);
    CHECK(plan.cols == 2);
}

TEST_CASE("tiles: longest_edge overrides the checkpoint's, and the reference's cap of 4096 holds") {
    CHECK(plan_tiles(640, 480, {}, TileOptions{.longest_edge = 1024}).canvas == TilePlan::Size{1024, 1024});
    CHECK(plan_tiles(640, 480, {}, TileOptions{.longest_edge = 512}).frames() == 1);
    CHECK(plan_tiles(640, 480, {}, TileOptions{.longest_edge = 100000}).resized == TilePlan::Size{4096, 3072});
}

TEST_CASE("tiles: no_upscale leaves small pictures one frame, and changes no large picture") {
    const TileOptions options{.no_upscale = true};
    CHECK(plan_tiles(386, 386, {}, options).frames() == 1);
    CHECK(plan_tiles(512, 512, {}, options).frames() == 1);
    CHECK(plan_tiles(513, 100, {}, options).cols == 2);
    for (const auto& [w, h] : {std::pair<Index, Index>{2048, 3}, {4032, 3024}, {1537, 2000}})
        CHECK(plan_tiles(w, h, {}, options).canvas == plan_tiles(w, h, {}).canvas);
}

TEST_CASE("tiles: max_tiles takes the largest longest edge, in whole tiles, whose grid is small enough") {
    const auto edge = [](Index w, Index h, TileRule rule) {
        const TilePlan plan = plan_tiles(w, h, rule);
        return plan.rows * plan.cols;
    };
    for (const auto& [w, h] :
         {std::pair<Index, Index>{640, 480}, {480, 640}, {1000, 1000}, {3000, 500}, {1, 1}, {9, 4000}})
        for (Index most = 1; most <= 20; ++most) {
            const Index wide = w;
            CAPTURE(wide);
            CAPTURE(most);
            const TilePlan plan = plan_tiles(w, h, {}, TileOptions{.max_tiles = most});
            CHECK(plan.rows * plan.cols <= most);
            if (most == 1) CHECK(plan.frames() <= 2);
            // The definition, by trying every multiple.
            Index best = 2048;
            while (best > 512 && edge(w, h, {best, 512}) > most) best -= 512;
            CHECK(plan.canvas == plan_tiles(w, h, {best, 512}).canvas);
        }
    CHECK(plan_tiles(640, 480, {}, TileOptions{.max_tiles = 12}).canvas == plan_tiles(640, 480, {}).canvas);
    CHECK(plan_tiles(640, 480, {}, TileOptions{.max_tiles = 1}).frames() == 1);
}

TEST_CASE("tiles: options that are not given change nothing") {
    for (const auto& [w, h] : {std::pair<Index, Index>{640, 480}, {17, 4001}, {1, 1}})
        CHECK(plan_tiles(w, h, {}, {}).canvas == plan_tiles(w, h, {}).canvas);
}

TEST_CASE("tiles: sizes and settings outside their bounds are errors") {
    CHECK_THROWS_AS(plan_tiles(0, 5, {}), ValueError);
    CHECK_THROWS_AS(plan_tiles(5, Index(1) << 30, {}), ValueError);
    CHECK_THROWS_AS(plan_tiles(5, 5, {2048, 0}), ValueError);
    CHECK_THROWS_AS(plan_tiles(5, 5, {2048, Index(1) << 40}), ValueError);
    CHECK_THROWS_AS(plan_tiles(5, 5, {0, 512}), ValueError);
    CHECK_THROWS_AS(plan_tiles(5, 5, {}, TileOptions{.longest_edge = -1}), ValueError);
    CHECK_THROWS_AS(plan_tiles(5, 5, {}, TileOptions{.max_tiles = 0}), ValueError);
}
