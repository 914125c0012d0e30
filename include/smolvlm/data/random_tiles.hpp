#pragma once
/// Tiles as the released training code made them (huggingface/smollm, vision/m4; not what the processor does when the
/// model is used): one resize, to a canvas whose longest side is a random number k of tiles, so that the model sees
/// pictures cut in many ways.
///
///     longest edge L > 1092      k = 2, 3, 4, 5 with probability 0.4, 0.3, 0.2, 0.1      (at most L / T, rounded up)
///     otherwise                  k = 1, 2, 3    with probability 0.5, 0.3, 0.2
///
/// The other side follows and is rounded up to whole tiles; the global frame is the canvas shrunk to one tile.

#include <smolvlm/core/random.hpp>
#include <smolvlm/image/processor.hpp>

namespace smolvlm {

inline Index draw_tile_count(Index longest_edge, Index tile, Random& random) {
    const double u = random.uniform();
    const Index k = longest_edge > 1092 ? (u < 0.4   ? 2
                                           : u < 0.7 ? 3
                                           : u < 0.9 ? 4
                                                     : 5)
                                        : (u < 0.5   ? 1
                                           : u < 0.8 ? 2
                                                     : 3);
    return std::min(k, (longest_edge + tile - 1) / tile);
}

inline ProcessedImage process_image_with_random_tiles(const Image& image, ImageProcessorConfig config, Random& random,
                                                      int threads = default_threads()) {
    const Index T = config.tile, along = draw_tile_count(config.longest_edge, T, random) * T;
    const Index w = image.width(), h = image.height(), longest = std::max(w, h);
    const auto side = [&](Index n) {  // n / longest of the canvas' longest side, in whole tiles
        return n == longest ? along : std::max<Index>(1, (n * along + longest * T - 1) / (longest * T)) * T;
    };
    config.do_resize = false;  // the canvas has the right size already
    config.do_image_splitting = true;
    return process_image(resize(image, side(w), side(h), config.resample, threads), config, {}, threads);
}

}  // namespace smolvlm
