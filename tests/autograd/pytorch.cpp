// Gradients and optimiser steps of whole models against PyTorch's (tests/golden/gen_gradients.py).
#include <smolvlm/checkpoint/save.hpp>
#include <smolvlm/train/adamw.hpp>
#include <smolvlm/train/clip.hpp>

#include "golden_gradients.hpp"

using namespace testing;

TEST_CASE("gradients: in double precision every parameter's is PyTorch's within 1e-9") {
    double worst = 0;
    for (const Golden& which : goldens()) worst = std::max(worst, worst_gradient<Cpu<double>>(which, 1e-9));
    MESSAGE("worst " << worst);
}

TEST_CASE("gradients: in single precision every parameter's is PyTorch's float64 one within 1e-4") {
    double worst = 0;
    for (const Golden& which : goldens()) worst = std::max(worst, worst_gradient<Cpu<float>>(which, 1e-4));
    MESSAGE("worst " << worst);
}

TEST_CASE("AdamW: three steps with clipping, no decay on vectors, land on PyTorch's weights") {
    using B = Cpu<double>;
    const Json index = parse_json(read_text_file(golden + "gradients.json", 1 << 20), "gradients.json");
    const Json& facts = index["adamw"];
    const AdamW adamw{facts["betas"][0].get<double>(), facts["betas"][1].get<double>(), facts["eps"].get<double>()};
    for (const Golden& which : goldens()) {
        CAPTURE(which.name);
        const Checkpoint checkpoint = open_checkpoint(golden + "models/" + which.name);
        Grad<B> be;
        const SmolVLM<B> plain = load_model(be.inner(), checkpoint.config, *checkpoint.weights);
        std::vector<std::string> names;
        auto model = watch(
            be, plain, [](std::string_view) { return true; }, &names);
        std::vector<HostTensor<double>> master, mean, square;
        for_each_parameter(plain, [&](const std::string&, const auto& slot, const Shape& shape) {
            if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<B>>) {
                const auto rows = detail::weight_to_host<double>(slot, 1).template to_tensor<double>();
                master.push_back(rows);
            } else {
                master.push_back(converted<double>(slot));
            }
            mean.push_back(HostTensor<double>::zeros(master.back().shape()));
            square.push_back(HostTensor<double>::zeros(master.back().shape()));
            CHECK(shape.numel() == master.back().numel());
        });
        for (Index step = 1; step <= facts["steps"].get<Index>(); ++step) {
            const auto gradients = be.backward(loss_of(be, model, which.batch));
            double squares = 0;
            for (std::size_t i = 0; i < names.size(); ++i) squares += sum_of_squares<double>(gradients[i].flat());
            const double norm = std::sqrt(squares);
            const Json& norms = index["models"][which.name]["norms"];
            CHECK(norm == doctest::Approx(norms[static_cast<std::size_t>(step - 1)].get<double>()).epsilon(1e-9));
            const double scale = clip_scale(norm, facts["clip"].get<double>()),
                         decay = facts["weight_decay"].get<double>();
            std::size_t i = 0;
            for_each_parameter(model, [&](const std::string&, auto& slot, const Shape& shape) {
                adamw.update<double>(master[i].flat(), gradients[i].flat(), mean[i].flat(), square[i].flat(), step,
                                     facts["lr"].get<double>(), shape.rank() > 1 ? decay : 0.0, scale);
                if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<Grad<B>>>)
                    slot.value = be.inner().make_weight(HostWeight::from_tensor(master[i]));
                else
                    slot.value = converted<double>(master[i]);
                ++i;
            });
        }
        for (std::size_t i = 0; i < names.size(); ++i) {
            CAPTURE(names[i]);
            CHECK(departure(projected(master[i]).reshaped(which.tensor("after." + names[i]).shape()),
                            which.tensor("after." + names[i]), 1e-8) == "");
        }
    }
}
