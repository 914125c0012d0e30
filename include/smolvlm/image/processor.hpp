#pragma once
/// ImageProcessor: a picture to the frames that the vision tower sees: resize, cut into tiles, global frame last.
///
///     Image  --plan_tiles-->  TilePlan  --resize, resize, crop-->  pixel_u8 [F, 3, T, T]  --normalize-->  float
///
/// The bytes equal those of transformers' Pillow-backed processor given the same picture. See tiles.hpp for the plan.

#include <cstring>
#include <string>
#include <vector>

#include <smolvlm/image/normalize.hpp>
#include <smolvlm/image/resize.hpp>
#include <smolvlm/image/tiles.hpp>

namespace smolvlm {

/// The settings of preprocessor_config.json; the defaults are SmolVLM's (256M and 500M).
struct ImageProcessorConfig {
    Index longest_edge = 2048;  // size.longest_edge
    Index tile = 512;           // max_image_size.longest_edge
    bool do_resize = true;
    bool do_image_splitting = true;
    bool do_rescale = true;
    double rescale_factor = 1.0 / 255.0;
    bool do_normalize = true;
    std::array<double, 3> mean{0.5, 0.5, 0.5};
    std::array<double, 3> std{0.5, 0.5, 0.5};
    Resample resample = Resample::lanczos;
    bool do_pad = true;  // frames all have one size: nothing is ever padded but absent frames, which we do not keep
    bool do_convert_rgb = true;  // an Image is RGB already

    TileRule tile_rule() const { return {longest_edge, tile, do_resize, do_image_splitting}; }
    PixelScaling scaling() const { return {do_rescale, rescale_factor, do_normalize, mean, std}; }
    /// Throws ValueError when a setting is outside its bounds. `resample` as read from a file may be any number.
    void check() const {
        SMOLVLM_CHECK(resample == Resample::lanczos || resample == Resample::bilinear || resample == Resample::bicubic,
                      ValueError, "image processor: resample is ", static_cast<int>(resample),
                      ", expected 1 (lanczos), 2 (bilinear) or 3 (bicubic)");
        for (double s : std)
            SMOLVLM_CHECK(!do_normalize || (s != 0.0 && std::isfinite(s)), ValueError,
                          "image processor: image_std holds ", s, ", expected finite numbers other than 0");
    }
};

struct ProcessedImage {
    HostTensor<std::uint8_t> pixel_u8;  // [F, 3, T, T]: the tiles row by row, then the global frame
    Index rows = 0, cols = 0;           // 0 and 0: one frame, not split
    TilePlan plan;

    Index frames() const { return pixel_u8.dim(0); }
    /// [1, 3, T, T]
    View<const std::uint8_t> frame(Index f) const {
        const Shape one{1, pixel_u8.dim(1), pixel_u8.dim(2), pixel_u8.dim(3)};
        return {pixel_u8.data() + f * one.numel(), one};
    }
};

inline ProcessedImage process_image(const Image& image, const ImageProcessorConfig& config,
                                    const TileOptions& options = {}, int threads = default_threads()) {
    config.check();
    SMOLVLM_CHECK(!image.empty(), ValueError, "image processor: the picture is empty");
    ProcessedImage result;
    const TilePlan plan = plan_tiles(image.width(), image.height(), config.tile_rule(), options);
    const Index T = plan.tile;
    const Image resized = resize(image, plan.resized.width, plan.resized.height, config.resample, threads);
    const Image canvas = resize(resized, plan.canvas.width, plan.canvas.height, config.resample, threads);
    // With tiles the last frame is the whole canvas once more; without, the canvas has T x T already.
    const Image whole = resize(canvas, T, T, config.resample, threads);

    result.plan = plan;
    result.rows = plan.rows;
    result.cols = plan.cols;
    result.pixel_u8 = HostTensor<std::uint8_t>(Shape{plan.frames(), 3, T, T});
    std::uint8_t* to = result.pixel_u8.data();
    for (Index tile = 0; tile < plan.rows * plan.cols; ++tile)
        for (int c = 0; c < 3; ++c)
            for (Index y = 0; y < T; ++y, to += T)
                std::memcpy(to, canvas.row(c, tile / plan.cols * T + y) + tile % plan.cols * T,
                            static_cast<std::size_t>(T));
    std::memcpy(to, whole.plane(0), static_cast<std::size_t>(3 * T * T));
    return result;
}

/// pixel_values [F, 3, T, T] of those frames.
inline HostTensor<float> pixel_values(const ProcessedImage& image, const ImageProcessorConfig& config,
                                      int threads = default_threads()) {
    return normalize(image.pixel_u8, config.scaling(), threads);
}

/// pixel_attention_mask [F, T, T]: 1 everywhere, since no frame is padded.
inline HostTensor<std::int64_t> pixel_attention_mask(const ProcessedImage& image) {
    HostTensor<std::int64_t> mask(Shape{image.frames(), image.plan.tile, image.plan.tile});
    std::fill_n(mask.data(), mask.numel(), std::int64_t(1));
    return mask;
}

/// The frames of several pictures in one tensor [sum of F, 3, T, T], as the vision tower takes them.
inline HostTensor<std::uint8_t> stack_frames(const std::vector<ProcessedImage>& images) {
    SMOLVLM_CHECK(!images.empty(), ValueError, "stack_frames: no pictures");
    Index frames = 0;
    const Index tile = images.front().plan.tile;
    for (const ProcessedImage& image : images) {
        SMOLVLM_CHECK(image.plan.tile == tile, ShapeError, "stack_frames: frames of ", tile, " and of ",
                      image.plan.tile, " pixels");
        frames += image.frames();
    }
    HostTensor<std::uint8_t> stacked(Shape{frames, 3, tile, tile});
    std::uint8_t* to = stacked.data();
    for (const ProcessedImage& image : images) to = std::copy_n(image.pixel_u8.data(), image.pixel_u8.numel(), to);
    return stacked;
}

}  // namespace smolvlm
