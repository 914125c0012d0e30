// Laws of the tape and of Grad<B>.
#include "support.hpp"

using namespace testing;

namespace {

using R = Ref<double>;
using G = Grad<R>;

HostTensor<double> scalar(double value) { return HostTensor<double>({1}, {value}); }

/// y [1] = sum of x [N, D]: the loss with which gradients of anything can be looked at.
/// (As a linear map: the rows of x side by side would need a reshape, so the sum goes over columns and then over rows.)
Tensor<G> sum(G& be, const Tensor<G>& x) {
    const Index N = x.shape()[0], D = x.shape()[1];
    const auto ones = [&](Index n) {
        return be.make_weight(
            HostWeight::from_tensor(HostTensor<double>({1, n}, std::vector<double>(static_cast<std::size_t>(n), 1.0))));
    };
    const Tensor<G> per_row = be.linear(x, ones(D), {});  // [N, 1]
    const HostTensor<double> value = be.to_host(per_row);
    double total = 0;
    for (const double v : value.flat()) total += v;
    return be.record(scalar(total), {per_row.parent()}, [N](R& inner, const HostTensor<double>& dy, auto d) {
        d.pass(0, inner.from_host(
                      HostTensor<double>({N, 1}, std::vector<double>(static_cast<std::size_t>(N), dy.flat()[0]))));
    });
}

/// Ref<double> that counts its vector-Jacobian products.
struct Counting : R {
    inline static Index visits = 0;
    void gelu_tanh_vjp(const Tensor& x, const Tensor& dy, Tensor* dx) {
        ++visits;
        R::gelu_tanh_vjp(x, dy, dx);
    }
    void linear_vjp(const Tensor& x, const Weight& w, const Tensor& dy, Tensor* dx, Tensor* dw, Tensor* dbias) {
        ++visits;
        R::linear_vjp(x, w, dy, dx, dw, dbias);
    }
};

}  // namespace

TEST_CASE("tape: a diamond receives the sum of both ways, as often as it is used") {
    G be;
    const auto x = be.watch(tensor(be.inner(), {1, 2}, {0.5, -1}));
    auto y = be.gelu_tanh(x);  // y = f(x)
    auto z = y;
    be.add_to(z, y);  // 2 y
    be.add_to(z, z);  // 4 y
    be.add_to(z, x);  // 4 y + x
    be.add_to(y, z);  // 5 y + x: in place for the layer, on the tape a new tensor
    const auto gradients = be.backward(sum(be, y));
    for (std::size_t i = 0; i < 2; ++i)
        CHECK(gradients[0].flat()[i] == doctest::Approx(5 * gelu_tanh_derivative(x.value.flat()[i]) + 1));
}

TEST_CASE("tape: every leaf is told of once, complete, and before what lies below its first use has been visited") {
    for (const bool checkpoints : {false, true}) {
        Grad<Counting> be;
        be.checkpoint_layers(checkpoints);
        const auto x = be.watch(tensor(be.inner(), {1, 2}, {0.5, -1})), y = be.watch(tensor(be.inner(), {1, 2}, {1, 3}));
        const auto unused = be.watch(tensor(be.inner(), {1, 2}, {7, 7}));
        auto h = be.gelu_tanh(x);
        for (int layer = 0; layer < 3; ++layer)
            be.checkpoint(h, [](Grad<Counting>& inner, auto& t) { t = inner.gelu_tanh(t); });
        be.add_to(h, y);  // the only use of y, after all of x
        Counting::visits = 0;
        const auto seed = tensor(be.inner(), {1, 2}, {1, 1});
        std::vector<std::size_t> told;
        std::vector<Index> when;
        std::vector<double> values;
        const auto gradients = be.tape().backward(be.inner(), h.node, seed, [&](std::size_t leaf, auto& gradient) {
            told.push_back(leaf);
            when.push_back(Counting::visits);
            values.push_back(gradient.empty() ? 0.0 : gradient.flat()[1]);
        });
        REQUIRE(told.size() == 3);
        const std::vector<std::size_t> in_order = checkpoints ? std::vector<std::size_t>{0, 1, 2}   // at the end
                                                              : std::vector<std::size_t>{1, 0, 2};  // y first
        CHECK(told == in_order);
        CHECK(when == (checkpoints ? std::vector<Index>{4, 4, 4} : std::vector<Index>{0, 4, 4}));
        for (std::size_t i = 0; i < 3; ++i)
            CHECK(values[i] == (gradients[told[i]].empty() ? 0.0 : gradients[told[i]].flat()[1]));
        CHECK(gradients[2].empty());
        CHECK_FALSE(unused.empty());
    }
}

TEST_CASE("tape: a gradient that was passed on is copied before anything is added to it") {
    // x and h share the gradient of x + h until h's own other use adds to one of them.
    G be;
    const auto a = be.watch(tensor(be.inner(), {1, 1}, {2})), b = be.watch(tensor(be.inner(), {1, 1}, {3}));
    auto x = a;
    be.add_to(x, b);
    auto y = x;
    be.add_to(y, b);
    const auto gradients = be.backward(sum(be, y));
    CHECK(gradients[0].flat()[0] == 1);
    CHECK(gradients[1].flat()[0] == 2);
}

TEST_CASE("tape: 100000 entries are walked without recursion, each vjp exactly once") {
    Grad<Counting> be;
    const auto w = be.watch(be.inner().make_weight(HostWeight::from_tensor(HostTensor<double>({1, 1}, {1.0}))));
    for (const Index depth : {1000, 100000}) {
        Counting::visits = 0;
        Tensor<Grad<Counting>> x{scalar(1).reshaped({1, 1})};
        x = be.linear(x, w, {});
        for (Index i = 0; i < depth; ++i) {
            auto y = x;
            be.add_to(y, x);  // used twice: a walk by paths would take 2^depth steps
            x = i % 2 ? be.gelu_tanh(y) : y;
        }
        CHECK(be.tape().size() == static_cast<std::size_t>(1 + depth + depth / 2));
        be.tape().backward(be.inner(), x.node, scalar(1).reshaped({1, 1}));
        CHECK(Counting::visits == 1 + depth / 2);
        CHECK(be.tape().size() == 0);
    }
}

TEST_CASE("tape: frozen parameters record nothing, and an op above the first watched one costs no dW of the others") {
    G be;
    const auto config = tiny_config();
    const auto plain = tiny_model(be.inner(), config);
    const auto ids = words(5, 1);
    const auto segments = Segments::packed(Segments::Mask::causal, std::vector<Index>{5});
    const auto loss_with = [&](auto trains) {
        be = G();
        const auto model = watch(be, plain, trains);
        return be.cross_entropy(model.logits(be, model.forward(be, ids, {}, segments)), ids);
    };
    const auto frozen = loss_with([](std::string_view) { return false; });
    CHECK(frozen.node == 0);
    CHECK(be.tape().size() == 0);
    loss_with([](std::string_view name) { return name == "lm_head.weight"; });
    CHECK(be.tape().size() == 2);  // the head and the loss
    loss_with([](std::string_view name) { return name.find("layers.1.mlp.down_proj") != name.npos; });
    CHECK(be.tape().size() == 5);  // down_proj, add_to, norm, head, loss
}

TEST_CASE("tape: gradients of leaves that the loss does not use are empty, those of others have their shape") {
    G be;
    const auto used = be.watch(tensor(be.inner(), {1, 2}, {1, 2})),
               unused = be.watch(tensor(be.inner(), {1, 2}, {1, 2}));
    CHECK(unused.node != 0);
    const auto gradients = be.backward(sum(be, be.gelu_tanh(used)));
    CHECK(gradients.size() == 2);
    CHECK(gradients[0].shape() == Shape{1, 2});
    CHECK(gradients[1].empty());
}

TEST_CASE("tape: tensors of an earlier step are refused, parameters live on, and an abandoned step can be cleared") {
    G be;
    const auto w = be.watch(tensor(be.inner(), {1, 1}, {1}));
    const auto old = be.gelu_tanh(w);
    be.backward(sum(be, old));
    CHECK(contains(error_of([&] { be.gelu_tanh(old); }), "a tensor of an earlier step is used"));
    CHECK(contains(error_of([&] { be.backward({scalar(1), old.node}); }), "a tensor of an earlier step is used"));
    const auto abandoned = be.gelu_tanh(w);
    be.tape().clear();
    CHECK(be.tape().size() == 0);
    CHECK(contains(error_of([&] { be.gelu_tanh(abandoned); }), "a tensor of an earlier step is used"));
    const auto again = be.backward(sum(be, be.gelu_tanh(w)));
    CHECK(again[0].flat()[0] == doctest::Approx(gelu_tanh_derivative(1.0)));
    CHECK(contains(error_of([&] { be.backward(be.gelu_tanh(w)); }), "a scalar [1] is needed"));
}

TEST_CASE("grad: no op of the tape changes a tensor that somebody can still see") {
    G be;
    const auto original = tensor(be.inner(), {2, 2}, {1, 2, 3, 4});
    const auto x = be.watch(original);
    auto y = be.gelu_tanh(x);
    const auto kept = y;
    be.add_to(y, x);
    be.scatter_rows(y, std::vector<std::int32_t>{1}, be.gather_rows(x, std::vector<std::int32_t>{0}));
    CHECK(inequality(original, HostTensor<double>({2, 2}, {1, 2, 3, 4})) == "");
    CHECK(kept.value.flat()[0] == gelu_tanh(1.0));
    CHECK(y.value.flat()[2] == 1);
    const auto gradients = be.backward(sum(be, y));
    CHECK(gradients[0].flat()[0] == doctest::Approx(gelu_tanh_derivative(1.0) + 2));  // itself, added, and in row 1
    CHECK(gradients[0].flat()[2] == 0);                                               // row 1 was overwritten
}

TEST_CASE("grad: a whole model's gradient is the difference quotient of its loss, for every parameter") {
    for (const TinyCase& which : tiny_cases) {
        CAPTURE(which.name);
        const auto config = tiny_config(which);
        G be;
        auto plain = tiny_model(be.inner(), config);
        // Weights in double, so that they can be moved by little.
        for_each_parameter(plain, [](const std::string&, auto& slot, const Shape&) {
            if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<R>>)
                slot = HostWeight::from_tensor(slot.template to_tensor<double>());
        });
        const auto image = image_tokens(config);
        const auto ids = sequence({words(2, 1), image, words(3, 2), words(1, 3), image, words(2, 4)});
        const Index first = 5 + config.tokens_per_image(), all = static_cast<Index>(ids.size());
        const auto segments = Segments::packed(Segments::Mask::causal, std::vector<Index>{first, all - first});
        auto targets = words(all, 5);
        targets[0] = targets[3] = ignore_index;
        const auto pixels = pictures(be.inner(), config, 2, 6);
        const Index side = config.vision.image_size;
        const auto grid = make_patch_grid(config.vision, 2, side, side);
        const auto loss_of_model = [&](auto& backend, const auto& model) {
            const auto features = model.encode_images(backend, backend.from_host(pixels), grid);
            return backend.cross_entropy(model.logits(backend, model.forward(backend, ids, features, segments)),
                                         targets);
        };
        std::vector<std::string> names;
        const auto model = watch(
            be, plain, [](std::string_view) { return true; }, &names);
        const auto gradients = be.backward(loss_of_model(be, model));
        R direct;
        std::size_t i = 0;
        for_each_parameter(plain, [&](const std::string& name, auto& slot, const Shape&) {
            CAPTURE(name);
            REQUIRE(name == names[i]);
            double* values = nullptr;
            if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<R>>)
                values = reinterpret_cast<double*>(slot.storage.data());
            else
                values = const_cast<double*>(std::as_const(slot).data());
            const auto& gradient = gradients[i++];
            const Index n = gradient.numel();
            Random random(i);
            for (int probe = 0; probe < 3; ++probe) {  // a few elements of each, by chance
                const auto at = static_cast<Index>(random.below(static_cast<std::uint32_t>(n)));
                const double kept = values[at], h = 1e-5;
                values[at] = kept + h;
                const double above = direct.to_host(loss_of_model(direct, plain)).flat()[0];
                values[at] = kept - h;
                const double below = direct.to_host(loss_of_model(direct, plain)).flat()[0];
                values[at] = kept;
                CHECK(std::abs((above - below) / (2 * h) - gradient.flat()[static_cast<std::size_t>(at)]) < 2e-8);
            }
        });
    }
}

TEST_CASE("grad: the forward pass is the plain one, bit for bit") {
    using B = Cpu<float>;
    const auto config = tiny_config();
    Grad<B> be(B(2));
    const auto plain = tiny_model(be.inner(), config);
    const auto model = watch(be, plain, [](std::string_view) { return true; });
    const auto ids = words(20, 1);
    const auto segments = Segments::packed(Segments::Mask::causal, std::vector<Index>{12, 8});
    B direct(1);
    const auto expected = plain.logits(direct, plain.forward(direct, ids, {}, segments));
    const auto found = be.to_host(model.logits(be, model.forward(be, ids, {}, segments)));
    CHECK(inequality(found, expected) == "");
    static_assert(!CachingBackend<Grad<B>>);  // a tensor written in place has no place on a tape
}

TEST_CASE("checkpoint: gradients are the same bits with and without, and the tape keeps less") {
    using B = Cpu<float>;
    auto config = tiny_config();
    config.text.num_hidden_layers = config.vision.num_hidden_layers = 6;
    const Index side = config.vision.image_size;
    const auto grid = make_patch_grid(config.vision, 3, side, side);
    const auto image = image_tokens(config);
    const auto ids = sequence({image, words(30, 2), image, words(20, 1), image});
    const auto segments = Segments::packed(Segments::Mask::causal, std::vector<Index>{static_cast<Index>(ids.size())});
    for (const bool vision_frozen : {false, true}) {
        CAPTURE(vision_frozen);
        std::vector<HostTensor<float>> gradients[2];
        Index blocks[2] = {};
        std::size_t entries[2] = {};
        for (const bool checkpoints : {false, true}) {
            Grad<B> be(B(1));
            const auto plain = tiny_model(be.inner(), config);
            const auto model = watch(be, plain, [&](std::string_view name) {
                return !(vision_frozen && name.starts_with("model.vision_model"));
            });
            be.checkpoint_layers(checkpoints);
            const auto pixels = pictures(be.inner(), config, 3, 6);
            const Index before = be.inner().pool().fresh_allocations();
            const auto features = model.encode_images(be, be.from_host(pixels), grid);
            const auto loss = be.cross_entropy(model.logits(be, model.forward(be, ids, features, segments)),
                                               words(static_cast<Index>(ids.size()), 5));
            // Blocks that the pool had to make: what the tape holds (and the few that are free again).
            blocks[checkpoints] = be.inner().pool().fresh_allocations() - before;
            entries[checkpoints] = be.tape().size();
            const auto found = be.backward(loss);
            for (std::size_t i = 0; i < found.size(); ++i) gradients[checkpoints].push_back(found[i]);
            CHECK(be.tape().size() == 0);
        }
        REQUIRE(gradients[0].size() == gradients[1].size());
        for (std::size_t i = 0; i < gradients[0].size(); ++i) {
            CAPTURE(i);
            REQUIRE(!gradients[0][i].empty());
            CHECK(inequality(gradients[1][i], gradients[0][i]) == "");
        }
        CHECK(entries[1] < entries[0] / 4);
        CHECK(blocks[1] < blocks[0] / 2);
    }
}

TEST_CASE("checkpoint: a layer that nothing trained can reach is not kept; while evaluating nothing is recorded") {
    G be;
    const auto config = tiny_config();
    const auto plain = tiny_model(be.inner(), config);
    const auto model = watch(be, plain, [](std::string_view name) { return name == "lm_head.weight"; });
    be.checkpoint_layers(true);
    const auto ids = words(5, 1);
    const auto segments = Segments::packed(Segments::Mask::causal, std::vector<Index>{5});
    const auto run = [&] { return be.cross_entropy(model.logits(be, model.forward(be, ids, {}, segments)), ids); };
    const double loss = be.to_host(run()).flat()[0];
    CHECK(be.tape().size() == 2);
    be.tape().clear();
    {
        const G::Evaluating guard(be);
        CHECK(be.to_host(run()).flat()[0] == loss);
    }
    CHECK(be.tape().size() == 0);
    run();
    CHECK(be.tape().size() == 2);
}
