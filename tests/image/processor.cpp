#include <smolvlm/image/processor.hpp>

#include <doctest/doctest.h>

#include <smolvlm/image/load_stb.hpp>

#include "golden.hpp"

using namespace smolvlm;
using namespace testing;

namespace {

ImageProcessorConfig config_of(const Json& setting) {
    ImageProcessorConfig config;
    config.longest_edge = setting["longest_edge"];
    config.tile = setting["tile"];
    config.resample = static_cast<Resample>(setting["resample"].get<int>());
    config.do_image_splitting = setting["split"];
    return config;
}

void check_runs(const Image& image, const Json& runs, const Json& settings) {
    for (const auto& [setting, run] : runs.items()) {
        const std::string which = setting;
        CAPTURE(which);
        const ProcessedImage processed = process_image(image, config_of(settings[setting]));
        const Json& shape = run["shape"];
        CHECK(processed.pixel_u8.shape() == Shape{shape[0], shape[1], shape[2], shape[3]});
        CHECK(processed.rows == run["rows"]);
        CHECK(processed.cols == run["cols"]);
        CHECK(hash_of(processed.pixel_u8) == run["sha256"]);
    }
}

}  // namespace

TEST_CASE("image processor: the frames of every golden file, at every setting, equal the reference's bit for bit") {
    const Json golden = golden_json("images.json");
    for (const auto& [name, file] : golden["files"].items()) {
        const std::string which = name;
        CAPTURE(which);
        check_runs(load_image(golden_dir + "images/" + name), file["runs"], golden["settings"]);
    }
}

TEST_CASE("image processor: the frames of noise pictures equal the reference's bit for bit") {
    const Json golden = golden_json("images.json");
    for (const Json& picture : golden["noise"]) {
        CAPTURE(picture["size"].dump());
        check_runs(noise(picture["size"][0], picture["size"][1]), picture["runs"], golden["settings"]);
    }
}

TEST_CASE("image processor: pixel values are the reference's floats, bit for bit") {
    const Json golden = golden_json("images.json");
    const PixelScaling scaling;
    for (int value = 0; value < 256; ++value)
        for (int c = 0; c < 3; ++c)
            CHECK(scaling(value, c) ==
                  static_cast<float>(golden["value_of_byte"][static_cast<std::size_t>(value)].get<double>()));
    // ... and the table is applied to every pixel of every channel.
    ImageProcessorConfig config{.longest_edge = 128, .tile = 32};
    config.mean = {0.5, 0.25, 0.125};
    config.std = {0.5, 0.3, 2.0};
    const ProcessedImage processed = process_image(noise(90, 41), config);
    const HostTensor<float> values = pixel_values(processed, config);
    REQUIRE(values.shape() == processed.pixel_u8.shape());
    for (Index i = 0; i < values.numel(); ++i) {
        const int c = static_cast<int>(i / (32 * 32) % 3);
        const float v = static_cast<float>(processed.pixel_u8.data()[i] * (1.0 / 255.0));
        const auto channel = static_cast<std::size_t>(c);
        const float expected = (v - static_cast<float>(config.mean[channel])) / static_cast<float>(config.std[channel]);
        if (values.data()[i] != expected) FAIL("value ", i, " is ", values.data()[i], ", expected ", expected);
    }
}

TEST_CASE("image processor: rescaling and normalising can each be switched off") {
    PixelScaling scaling;
    scaling.do_normalize = false;
    CHECK(scaling(51, 0) == doctest::Approx(0.2));
    scaling.do_rescale = false;
    CHECK(scaling(51, 0) == 51.0f);
    scaling.do_normalize = true;
    CHECK(scaling(51, 0) == 101.0f);
}

TEST_CASE("image processor: tiles are the canvas cut row by row, the last frame is the canvas shrunk") {
    const Image image = noise(90, 120);
    const ImageProcessorConfig config{.longest_edge = 96, .tile = 32};
    const ProcessedImage processed = process_image(image, config);
    REQUIRE(processed.rows == 3);
    REQUIRE(processed.cols == 3);
    const Image canvas = resize(resize(image, 72, 96), 96, 96);
    const auto pixel = [&](Index frame, int c, Index y, Index x) {
        return processed.pixel_u8.view()(frame, Index(c), y, x);
    };
    for (int c = 0; c < 3; ++c)
        for (Index y = 0; y < 96; ++y)
            for (Index x = 0; x < 96; ++x) CHECK(pixel(y / 32 * 3 + x / 32, c, y % 32, x % 32) == canvas.row(c, y)[x]);
    const Image whole = resize(canvas, 32, 32);
    CHECK(std::equal(whole.plane(0), whole.plane(0) + 3 * 32 * 32, processed.pixel_u8.data() + 9 * 3 * 32 * 32));
}

TEST_CASE("image processor: threads do not change a bit") {
    const Image image = noise(301, 203);
    const ImageProcessorConfig config{.longest_edge = 256, .tile = 64};
    const std::string alone = hash_of(process_image(image, config, {}, 1).pixel_u8);
    for (const int threads : {2, 5}) CHECK(hash_of(process_image(image, config, {}, threads).pixel_u8) == alone);
}

TEST_CASE("image processor: masks are ones, and frames of several pictures stack in order") {
    const ImageProcessorConfig config{.longest_edge = 64, .tile = 32};
    const std::vector<ProcessedImage> images = {process_image(noise(60, 30), config),
                                                process_image(noise(9, 80), config)};
    const HostTensor<std::int64_t> mask = pixel_attention_mask(images[0]);
    CHECK(mask.shape() == Shape{images[0].frames(), 32, 32});
    CHECK(std::all_of(mask.data(), mask.data() + mask.numel(), [](std::int64_t m) { return m == 1; }));
    const HostTensor<std::uint8_t> stacked = stack_frames(images);
    CHECK(stacked.dim(0) == images[0].frames() + images[1].frames());
    CHECK(std::equal(images[1].pixel_u8.data(), images[1].pixel_u8.data() + images[1].pixel_u8.numel(),
                     stacked.data() + images[0].pixel_u8.numel()));
    CHECK_THROWS_AS(stack_frames({}), ValueError);
    CHECK_THROWS_AS(stack_frames({images[0], process_image(noise(5, 5), {.longest_edge = 16, .tile = 16})}),
                    ShapeError);
}

TEST_CASE("image processor: settings that nobody can follow are errors") {
    const Image image = noise(4, 4);
    ImageProcessorConfig config{.longest_edge = 64, .tile = 32};
    config.resample = static_cast<Resample>(0);
    CHECK_THROWS_AS(process_image(image, config), ValueError);
    config = {.longest_edge = 64, .tile = 32};
    config.std[1] = 0;
    CHECK_THROWS_AS(process_image(image, config), ValueError);
    CHECK_THROWS_AS(process_image(Image(), ImageProcessorConfig{}), ValueError);
    CHECK_THROWS_AS(process_image(image, {.longest_edge = 64, .tile = -3}), ValueError);
}
