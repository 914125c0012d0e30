#pragma once
/// How pages look: colours that can be told apart, paper or a photo behind them, turned a little, with some noise.

#include <string>

#include "page.hpp"

namespace printed_text {

inline float brightness(const Colour& c) { return 0.3f * c[0] + 0.59f * c[1] + 0.11f * c[2]; }

inline Colour random_colour(Random& random, double least, double most) {
    Colour colour;
    for (float& part : colour) part = static_cast<float>(between(random, least, most));
    return colour;
}

/// Light on a darkened part of the photo, or dark on a lightened one. scale: picture pixels to one of the model's.
inline Look on_photo(Random& random, const Image& photo, double scale) {
    Look look;
    look.photo = &photo;
    look.photo_x = random.below(static_cast<std::uint32_t>(photo.width()));
    look.photo_y = random.below(static_cast<std::uint32_t>(photo.height()));
    look.photo_step = between(random, 0.3, 2.0) / scale;
    const bool dark = chance(random, 0.6);
    look.photo_black = dark ? 0.0f : 0.65f;
    look.photo_white = dark ? 0.45f : 1.0f;
    look.ink = dark ? random_colour(random, 0.8, 1) : random_colour(random, 0, 0.2);
    return look;
}
/// Bright figures on a dark display.
inline Look lit(Random& random) {
    Look look;
    look.paper = look.shade = random_colour(random, 0, 0.2);
    look.ink = random_colour(random, 0.1, 0.3);
    look.ink[random.below(3)] = 1;
    if (chance(random, 0.3)) look.ink = random_colour(random, 0.85, 1);
    if (brightness(look.ink) < 0.45f) look.ink[1] = 0.8f;
    return look;
}
inline Look on_white_paper(Random& random) {
    Look look;
    look.paper = look.shade = random_colour(random, 0.8, 1);
    look.ink = random_colour(random, 0, 0.25);
    return look;
}
/// Any two colours of different brightness, the paper somewhat uneven.
inline Look in_colours(Random& random) {
    Look look;
    do {
        look.paper = random_colour(random, 0, 1);
        look.ink = random_colour(random, 0, 1);
    } while (std::abs(brightness(look.paper) - brightness(look.ink)) < 0.45f);
    look.shade = look.paper;
    for (float& part : look.shade)
        part = std::clamp(part + static_cast<float>(between(random, -0.12, 0.12)), 0.0f, 1.0f);
    look.direction = between(random, 0, 6.28);
    return look;
}
/// The same, turned by up to `most` radians, every second one with noise.
inline Look photographed(Look look, Random& random, double most) {
    look.angle = between(random, -most, most);
    look.noise = chance(random, 0.5) ? between(random, 0, 0.04) : 0;
    return look;
}

}  // namespace printed_text
