// AdamW, schedules, clipping and groups against closed forms and handwritten scalars.

#include <doctest/doctest.h>

#include <smolvlm/core/random.hpp>
#include <smolvlm/train/adamw.hpp>
#include <smolvlm/train/clip.hpp>
#include <smolvlm/train/groups.hpp>
#include <smolvlm/train/schedule.hpp>

using namespace smolvlm;

namespace {

std::vector<double> random_values(std::size_t n, std::uint64_t seed) {
    Random random(seed);
    std::vector<double> values(n);
    for (double& value : values) value = random.normal();
    return values;
}

}  // namespace

TEST_CASE("AdamW: ten steps of every element equal the textbook's equations, written for one number") {
    const AdamW adamw{.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6};
    const double lr = 0.01, decay = 0.1, scale = 0.5;
    const std::size_t n = 40000;  // more than one piece of work
    std::vector<double> w = random_values(n, 1), m(n, 0.0), v(n, 0.0);
    const std::vector<double> start = w;
    std::vector<std::vector<double>> gradients;
    for (Index t = 1; t <= 10; ++t) {
        gradients.push_back(random_values(n, 1 + static_cast<std::uint64_t>(t)));
        adamw.update<double>(w, gradients.back(), m, v, t, lr, decay, scale, 2);
    }
    for (std::size_t i : {std::size_t(0), std::size_t(16383), std::size_t(16384), n - 1}) {
        double wi = start[i], mean = 0, square = 0;
        for (int t = 1; t <= 10; ++t) {
            const double g = scale * gradients[static_cast<std::size_t>(t - 1)][i];
            mean = 0.9 * mean + 0.1 * g;
            square = 0.98 * square + 0.02 * g * g;
            wi -= lr * decay * wi;
            wi -= lr * (mean / (1 - std::pow(0.9, t))) / (std::sqrt(square / (1 - std::pow(0.98, t))) + 1e-6);
        }
        CHECK(w[i] == doctest::Approx(wi).epsilon(1e-12));
    }
}

TEST_CASE("AdamW: the first step has the size of the learning rate, whatever the gradient's size") {
    for (const float g : {1e-3f, -1e-3f, 2.0f, -300.0f}) {
        std::vector<float> w{1.0f}, gradient{g}, m{0.0f}, v{0.0f};
        AdamW{}.update<float>(w, gradient, m, v, 1, 0.25, 0);
        CHECK(w[0] == doctest::Approx(g > 0 ? 0.75 : 1.25).epsilon(2e-5));
    }
}

TEST_CASE("AdamW: decay is no part of the gradient: without one a weight shrinks by lr * decay and the means stay 0") {
    std::vector<double> w{2.0, -4.0}, g{0.0, 0.0}, m(2, 0.0), v(2, 0.0);
    AdamW{}.update<double>(w, g, m, v, 1, 0.5, 0.25);
    CHECK(w[0] == 2.0 * 0.875);
    CHECK(w[1] == -4.0 * 0.875);
    CHECK(m[0] == 0.0);
    CHECK(v[1] == 0.0);
}

TEST_CASE("AdamW: the number of threads changes no bit") {
    const std::vector<double> g = random_values(100000, 3);
    std::vector<double> w1 = random_values(g.size(), 4), w4 = w1;
    std::vector<double> m1(g.size()), v1(g.size()), m4(g.size()), v4(g.size());
    for (Index t = 1; t <= 3; ++t) {
        AdamW{}.update<double>(w1, g, m1, v1, t, 0.1, 0.1, 1, 1);
        AdamW{}.update<double>(w4, g, m4, v4, t, 0.1, 0.1, 1, 4);
    }
    CHECK(w1 == w4);
    CHECK(m1 == m4);
    CHECK(v1 == v4);
}

TEST_CASE(
    "Schedules: warm-up climbs from 0, then constant stays, linear and cosine reach the final factor at the end") {
    for (const auto kind : {Schedule::Kind::constant, Schedule::Kind::linear, Schedule::Kind::cosine}) {
        const Schedule schedule{kind, 10, 110, 0.1};
        CHECK(schedule(0) == 0.0);
        CHECK(schedule(5) == 0.5);
        CHECK(schedule(10) == doctest::Approx(1.0));
        const double half = kind == Schedule::Kind::constant ? 1.0 : 0.55,
                     end = kind == Schedule::Kind::constant ? 1.0 : 0.1;
        CHECK(schedule(60) == doctest::Approx(half));
        CHECK(schedule(110) == doctest::Approx(end));
        CHECK(schedule(1000) == doctest::Approx(end));
    }
    CHECK(Schedule{Schedule::Kind::linear, 0, 4, 0}(1) == 0.75);
    CHECK(Schedule{Schedule::Kind::cosine, 0, 4, 0}(1) == doctest::Approx(0.5 + 0.25 * std::sqrt(2.0)));
    CHECK(Schedule{Schedule::Kind::constant, 0, 1, 0}(0) == 1.0);
}

TEST_CASE("Schedules: after the warm-up linear and cosine never rise") {
    for (const auto kind : {Schedule::Kind::linear, Schedule::Kind::cosine}) {
        const Schedule schedule{kind, 3, 50, 0.2};
        for (Index step = 3; step < 60; ++step) CHECK(schedule(step + 1) <= schedule(step));
    }
}

TEST_CASE("Clipping: longer gradients get the wanted norm, shorter ones stay, as torch computes it") {
    const std::vector<float> g{3.0f, 4.0f};
    const double norm = std::sqrt(sum_of_squares<float>(g));
    CHECK(norm == 5.0);
    CHECK(clip_scale(norm, 1.0) == doctest::Approx(1.0 / 5.000001).epsilon(1e-14));
    CHECK(clip_scale(norm, 5.1) == 1.0);
    CHECK(clip_scale(norm, 0) == 1.0);
}

TEST_CASE("Clipping: the norm is the same on any number of threads, and not finite as soon as one element is not") {
    std::vector<double> g = random_values(200000, 9);
    CHECK(sum_of_squares<double>(g, 1) == sum_of_squares<double>(g, 3));
    CHECK(first_not_finite<double>(g) == g.size());
    g[123456] = std::numeric_limits<double>::quiet_NaN();
    CHECK_FALSE(std::isfinite(sum_of_squares<double>(g, 2)));
    CHECK(first_not_finite<double>(g) == 123456);
    g[7] = -std::numeric_limits<double>::infinity();
    CHECK(first_not_finite<double>(g) == 7);
}

TEST_CASE("Groups: every parameter belongs to one, by its name; norms and biases do not decay") {
    CHECK(parameter_group("model.vision_model.encoder.layers.3.mlp.fc1.bias") == ParameterGroup::vision);
    CHECK(parameter_group("model.connector.modality_projection.proj.weight") == ParameterGroup::connector);
    CHECK(parameter_group("model.text_model.embed_tokens.weight") == ParameterGroup::embeddings);
    CHECK(parameter_group("lm_head.weight") == ParameterGroup::embeddings);
    CHECK(parameter_group("model.text_model.layers.0.mlp.up_proj.weight") == ParameterGroup::language_model);
    CHECK(parameter_group("model.text_model.norm.weight") == ParameterGroup::language_model);
    CHECK(decays(Shape{3, 4}));
    CHECK_FALSE(decays(Shape{4}));
}

TEST_CASE("Patterns: a star stands for any characters, everything else for itself, and the whole name must fit") {
    CHECK(matches("*", ""));
    CHECK(matches("*", "lm_head.weight"));
    CHECK(matches("model.vision_model.*", "model.vision_model.post_layernorm.bias"));
    CHECK(matches("*.q_proj.*", "model.text_model.layers.0.self_attn.q_proj.weight"));
    CHECK(matches("*a*b*c", "xxaxbbaxbxc"));
    CHECK(matches("lm_head.weight", "lm_head.weight"));
    CHECK_FALSE(matches("lm_head", "lm_head.weight"));
    CHECK_FALSE(matches("*.bias", "lm_head.weight"));
    CHECK_FALSE(matches("", "a"));
    CHECK_FALSE(matches("*a*b*c", "xxaxbbaxbx"));
    CHECK_FALSE(matches("layers.?", "layers.1"));
}
