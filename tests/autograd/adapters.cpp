// Adapters against PEFT (tests/golden/gen_gradients.py), and their laws.
#include <smolvlm/train/adapters.hpp>

#include "support.hpp"
#include "support/temp_dir.hpp"

using namespace testing;

namespace {

using B = Cpu<double>;
constexpr auto nobody = [](std::string_view) { return false; };

/// The tiny text-only problem that the laws are tried on.
struct Problem {
    ModelConfig config = tiny_config();
    Grad<B> be;
    SmolVLM<B> plain = tiny_model(be.inner(), config);
    std::vector<std::int32_t> ids = words(12, 1);
    Segments segments = Segments::packed(Segments::Mask::causal, std::vector<Index>{7, 5});

    template <class Backend, class Model>
    auto logits(Backend& backend, const Model& model) {
        return model.logits(backend, model.forward(backend, ids, {}, segments));
    }
};

AdapterSet<double> random_adapters(Problem& p, AdapterSettings settings) {
    auto set = make_adapters(p.be.inner(), p.plain, {settings, {"*.self_attn.*_proj", "mlp.down_proj"}, false, 5});
    std::uint64_t seed = 40;
    set.for_each([&](const std::string& name, HostTensor<double>& values) {
        const auto noise = random_tensor<double>(values.shape(), ++seed, 0.2);
        const bool is_b = name.find("lora_B") != name.npos;
        for (Index i = 0; i < values.numel(); ++i)
            values.data()[i] = (is_b ? 0 : values.data()[i]) + noise.data()[i] * (is_b ? 1 : 0.1);
    });
    return set;
}

}  // namespace

TEST_CASE("adapters: PEFT's folders give PEFT's loss, logits, gradients and merged weights") {
    const std::string base = golden + "models/gqa_untied_r2";
    const Checkpoint checkpoint = open_checkpoint(base);
    double worst = 0;
    for (const std::string kind : {"lora", "dora"}) {
        CAPTURE(kind);
        const Safetensors truth = Safetensors::open(golden + "adapters/" + kind + ".safetensors");
        const GoldenBatch batch("gqa_untied_r2.left", truth.tensor<std::int64_t>("labels"));
        auto set = load_adapters<double>(golden + "adapters/" + kind, checkpoint.config);
        CHECK(set.settings.dora == (kind == "dora"));

        Grad<B> be;
        SmolVLM<B> plain = load_model(be.inner(), checkpoint.config, *checkpoint.weights);
        auto model = watch(be, plain, nobody);
        attach_adapters(be, model, set);
        const auto logits = logits_of(be, model, batch);
        const auto loss = be.cross_entropy(logits, batch.targets);
        CHECK(departure(host(be.inner(), loss.value), truth.tensor<double>("loss"), 1e-10) == "");
        const auto last = rows_of(be.to_host(logits), logits.shape()[0] - 4, logits.shape()[0]);
        CHECK(departure(last.reshaped({1, 4, last.dim(1)}), truth.tensor<double>("logits"), 1e-10) == "");

        const auto gradients = be.backward(loss);
        std::size_t i = 0;
        set.for_each([&](const std::string& name, const HostTensor<double>&) {
            CAPTURE(name);
            const auto expected = truth.tensor<double>("grad.base_model.model." + name);
            const auto& found = gradients[i++];
            CHECK(departure(found, expected, 1e-9) == "");
            worst = std::max(worst, difference(found, expected).max_rel);
        });
        CHECK(i == gradients.size());

        merge_adapters(be.inner(), plain, set);
        Index compared = 0;
        for_each_parameter(plain, [&](const std::string& name, const auto& slot, const Shape&) {
            if (!truth.find("merged." + name)) return;
            if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<B>>) {
                const auto found = projected(detail::weight_to_host<double>(slot, 1).template to_tensor<double>());
                // Merged weights are rounded to the float32 that this model's are held in.
                CHECK(departure(found, truth.tensor<double>("merged." + name), 1e-6) == "");
                ++compared;
            }
        });
        CHECK(compared >= 2);
    }
    MESSAGE("worst gradient " << worst);
}

TEST_CASE("adapters: fresh ones change nothing, merged ones give what attached ones give") {
    for (const bool dora : {false, true}) {
        CAPTURE(dora);
        Problem p;
        const AdapterSettings settings{.rank = 3, .alpha = 5, .dora = dora, .rank_stabilised = dora};
        const auto before = p.logits(p.be.inner(), p.plain);
        auto model = watch(p.be, p.plain, nobody);
        attach_adapters(p.be, model, make_adapters(p.be.inner(), p.plain, {settings, {"q_proj", "fc1"}, true, 1}));
        CHECK(departure(p.be.to_host(p.logits(p.be, model)), before, 1e-14) == "");
        p.be.tape().clear();

        Problem other;
        const auto set = random_adapters(other, settings);
        auto adapted = watch(other.be, other.plain, nobody);
        attach_adapters(other.be, adapted, set);
        const auto attached = other.be.to_host(other.logits(other.be, adapted));
        CHECK(departure(attached, before, 1e-3) != "");
        // Merged in double: what the type of the weights would round away is not the question here.
        for_each_parameter(other.plain, [&](const std::string&, auto& slot, const Shape&) {
            if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<B>>)
                slot = other.be.inner().make_weight(detail::weight_to_host<double>(slot, 1));
        });
        merge_adapters(other.be.inner(), other.plain, set);
        CHECK(departure(other.logits(other.be.inner(), other.plain), attached, 1e-12) == "");
    }
}

TEST_CASE("adapters: saved and loaded again they are the same numbers") {
    for (const bool dora : {false, true}) {
        Problem p;
        const testing::TempDir dir;
        auto set =
            random_adapters(p, {.rank = 2, .alpha = 3.5, .dropout = 0.25, .dora = dora, .rank_stabilised = dora});
        save_adapters(dir / "adapter", set, p.config, "somewhere/base");
        auto again = load_adapters<double>(dir / "adapter", p.config);
        CHECK(again.settings.scale() == set.settings.scale());
        CHECK(again.settings.dropout == 0.25);
        std::map<std::string, HostTensor<double>> numbers;
        set.for_each([&](const std::string& name, const HostTensor<double>& values) { numbers[name] = values; });
        std::size_t compared = 0;
        again.for_each([&](const std::string& name, const HostTensor<double>& values) {
            CHECK(departure(values, numbers.at(name), 1e-7) == "");
            ++compared;
        });
        CHECK(compared == numbers.size());
    }
}

TEST_CASE("adapters: gradients are difference quotients, with dropout too, and repeat under checkpointing") {
    for (const bool dora : {false, true})
        for (const double dropout : {0.0, 0.3}) {
            CAPTURE(dora);
            CAPTURE(dropout);
            Problem p;
            auto set = random_adapters(p, {.rank = 2, .alpha = 4, .dropout = dropout, .dora = dora});
            auto model = watch(p.be, p.plain, nobody);
            attach_adapters(p.be, model, set);
            const auto loss = [&] {
                p.be.seed_dropout(9);
                return p.be.cross_entropy(p.logits(p.be, model), p.ids);
            };
            const auto gradients = p.be.backward(loss());
            p.be.checkpoint_layers(true);
            const auto again = p.be.backward(loss());
            p.be.checkpoint_layers(false);
            for (std::size_t i = 0; i < gradients.size(); ++i) CHECK(inequality(again[i], gradients[i]) == "");

            std::size_t i = 0;
            const std::string last = set.entries.back().module;
            set.for_each([&](const std::string& name, HostTensor<double>& values) {
                const auto& gradient = gradients[i++];
                if (!name.starts_with(last)) return;  // the norm of DoRA is held still: only the last layer's is exact
                CAPTURE(name);
                const Index at = values.numel() / 2;
                const double kept = values.data()[at], h = 1e-5;
                const auto at_value = [&](double value) {
                    values.data()[at] = value;
                    publish_adapters(p.be, model, set);
                    const double result = p.be.to_host(loss()).flat()[0];
                    p.be.tape().clear();
                    return result;
                };
                const double quotient = (at_value(kept + h) - at_value(kept - h)) / (2 * h);
                at_value(kept);
                const bool held_still = dora && name.find("magnitude") == name.npos;
                if (!held_still) CHECK(std::abs(quotient - gradient.data()[at]) < 1e-8);
            });
            // While evaluating nothing is dropped.
            const Grad<B>::Evaluating guard(p.be);
            const double first = p.be.to_host(loss()).flat()[0];
            p.be.seed_dropout(10);
            CHECK(p.be.to_host(p.be.cross_entropy(p.logits(p.be, model), p.ids)).flat()[0] == first);
        }
}

TEST_CASE("adapters: a pattern that matches nothing, another model's adapter and unknown kinds are refused") {
    Problem p;
    const auto make = [&](const std::string& pattern) {
        return error_of([&] { make_adapters(p.be.inner(), p.plain, {{}, {"q_proj", pattern}, false, 0}); });
    };
    CHECK(make("q_porj") == "adapters: the target \"q_porj\" matches no linear map; the nearest name is q_proj");
    CHECK(contains(make("embed_tokens"), "matches no linear map"));
    CHECK(contains(error_of([&] {
                       make_adapters(p.be.inner(), p.plain, {{.rank = 0}, {"q_proj"}, false, 0});
                   }),
                   "rank is 0"));
    CHECK(contains(error_of([&] { make_adapters(p.be.inner(), p.plain, {}); }), "no target is given"));

    auto model = watch(p.be, p.plain, nobody);
    auto set = make_adapters(p.be.inner(), p.plain, {{}, {"q_proj"}, false, 0});
    set.entries[0].module = "model.text_model.layers.0.self_attn.p_proj";
    CHECK(contains(error_of([&] { attach_adapters(p.be, model, set); }),
                   "no linear map of that name; the nearest is model."));
    const auto golden_set = load_adapters<double>(golden + "adapters/lora", p.config);
    CHECK(contains(error_of([&] { attach_adapters(p.be, model, golden_set); }), "the model's is "));

    const testing::TempDir dir;
    const std::string config = R"({"peft_type": "LORA", "r": 2, "lora_alpha": 4)";
    dir.write("adapter_config.json", R"({"peft_type": "IA3"})");
    CHECK(contains(error_of([&] { load_adapters<double>(dir.path(), p.config); }), "expected \"LORA\""));
    dir.write("adapter_config.json", config + R"(, "rank_pattern": {"a": 1}})");
    CHECK(contains(error_of([&] { load_adapters<double>(dir.path(), p.config); }), "\"rank_pattern\""));
    dir.write("adapter_config.json", config + "}");
    CHECK(contains(error_of([&] { load_adapters<double>(dir.path(), p.config); }), "adapter_model.safetensors"));
    const auto odd = HostTensor<float>::zeros({3, 4});
    save_safetensors(dir / "adapter_model.safetensors", {NamedTensor::of("base_model.model.x.lora_A.weight", odd),
                                                         NamedTensor::of("base_model.model.x.lora_B.weight", odd)});
    CHECK(contains(error_of([&] { load_adapters<double>(dir.path(), p.config); }), "expected [2, K] and [M, 2]"));
}
