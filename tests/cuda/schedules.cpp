// Every kernel under the schedules of the emulation: orders of threads, moments of copies, poisons. A missing barrier or a
// read of memory that nobody wrote changes bits in some of them. Races that change none are found by the long tests, which
// compile this file with ThreadSanitizer too.
#if defined(SMOLVLM_CUDA_EMULATION)
#define SMOLVLM_TEST_BACKENDS smolvlm::Cuda<float>, smolvlm::Cuda<smolvlm::bfloat16>

#include <doctest/doctest.h>

#include <smolvlm/cuda/cuda.cuh>

#include "support/backends.hpp"
#include "support/schedules.hpp"

using namespace smolvlm;
using namespace testing;
using Int32s = std::vector<std::int32_t>;

namespace {

/// What the ops of one backend leave, one after the other.
template <class T>
struct Results {
    Cuda<T> be;
    std::vector<float> all;

    using Tensor = typename Cuda<T>::Tensor;
    void operator()(const Tensor& x) {
        const HostTensor<float> host = be.to_host(x);
        all.insert(all.end(), host.flat().begin(), host.flat().end());
    }
    void operator()(const Int32s& ids) { all.insert(all.end(), ids.begin(), ids.end()); }
    /// A gradient with something in it already, and one without.
    template <class Vjp>
    void both(const Shape& shape, Vjp vjp) {
        Tensor sums = random(be, shape, 90), fresh;
        vjp(&sums);
        vjp(&fresh);
        (*this)(sums);
        (*this)(fresh);
    }
};

template <class T>
void forward(Results<T>& out) {
    auto& be = out.be;
    const auto of = [&](Index N, Index D, std::uint64_t seed) { return random(be, {N, D}, seed); };
    const Segments causal(Segments::Mask::causal, {{0, 5, 0, 45}, {5, 22, 50, 40}});
    const Segments full(Segments::Mask::full, {{0, 27, 0, 70}});
    const Segments step(Segments::Mask::causal, {{0, 1, 0, 41}, {1, 2, 50, 40}});
    for (const Index N : {1, 3, 70}) {
        out(be.linear(of(N, 72, 1), random_weight(be, {70, 72}, 2), random(be, {70}, 3)));
        out(be.linear(of(N, 13, 1), random_weight(be, {5, 13}, 2), {}));
        for (const DType dtype : {DType::q8_0, DType::q4_0}) {
            const auto w = HostWeight::from_tensor(random_tensor<float>({6, 96}, 2)).converted(dtype);
            out(be.linear(of(N, 96, 1), be.make_weight(w), {}));
        }
    }
    out(be.linear(of(1, 1032, 1), random_weight(be, {6, 1032}, 2), {}));
    for (const auto& [N, K] : {std::array<Index, 2>{1, 1032}, {3, 72}, {70, 72}, {70, 13}}) {
        auto x = of(N, 24, 4), y = of(N, 24, 5);
        const auto w1 = random_weight(be, {40, K}, 2, 0.1), w2 = random_weight(be, {24, 40}, 3);
        be.add_gelu_mlp(x, of(N, K, 1), w1, random(be, {40}, 6), w2, random(be, {24}, 7));
        be.add_gated_mlp(y, of(N, K, 1), w1, random_weight(be, {40, K}, 8, 0.1), w2);
        out(x);
        out(y);
    }
    for (const Index D : {3, 8}) out(be.pixel_shuffle_linear(of(2 * 24, D, 1), 4, 6, 2, random_weight(be, {9, 4 * D}, 2)));
    for (const Index K : {12, 64, 72}) {
        for (const Segments& rows : {causal, full})
            out(be.attention(of(27, 6 * K, 1), of(90, 2 * K, 2), of(90, 2 * K, 3), Heads{6, 2}, rows));
        out(be.attention(of(3, 6 * K, 1), of(90, 2 * K, 2), of(90, 2 * K, 3), Heads{6, 2}, step));
    }
    out(be.rms_norm(of(5, 300, 1), random(be, {300}, 2), 1e-5));
    out(be.layer_norm(of(5, 300, 1), random(be, {300}, 2), random(be, {300}, 3), 1e-5));
    auto sum = of(5, 300, 4), other = of(5, 300, 5);
    out(be.add_rms_norm(sum, of(5, 300, 1), random(be, {300}, 2), 1e-5));
    out(be.add_layer_norm(other, of(5, 300, 1), random(be, {300}, 2), random(be, {300}, 3), 1e-5));
    out(sum);
    out(other);
    out(be.rope(of(27, 24, 1), 3, 1e4, causal));
    out(be.gelu_tanh(of(5, 72, 1)));
    out(be.silu_mul(of(5, 72, 1), of(5, 72, 2)));
    out(be.patchify(random(be, {2, 3, 7, 9}, 1), 3));
    out(be.pixel_shuffle(of(2 * 24, 3, 1), 4, 6, 2));
    const Int32s ids{4, 0, 4, 2};
    out(be.embedding(random_weight(be, {6, 9}, 1), ids));
    auto rows = of(6, 9, 1);
    be.scatter_rows(rows, ids, be.gather_rows(of(6, 9, 2), ids));
    be.add_to(rows, of(6, 9, 3));
    out(rows);
    const std::vector<std::uint8_t> bytes(2 * 3 * 7 * 9, 77);
    out(be.patchify_bytes({{bytes.data(), Shape{2, 3, 7, 9}}, std::vector<float>(768, 0.3f)}, 3));
    out(be.arg_max(of(3, 700, 1)));
    const std::array uniforms{0.1f, 0.5f, 0.9f};
    out(be.sample(of(3, 700, 1), uniforms, 40, 0.8, 0.9));
}

template <class T>
void backward(Results<T>& out) {
    auto& be = out.be;
    const auto of = [&](Index N, Index D, std::uint64_t seed) { return random(be, {N, D}, seed); };
    const Segments causal(Segments::Mask::causal, {{0, 5, 0, 45}, {5, 22, 50, 40}});
    for (const auto& [N, K, M] : {std::array<Index, 3>{70, 72, 80}, {5, 13, 70}}) {
        const auto x = of(N, K, 1), dy = of(N, M, 3);
        const auto w = random_weight(be, {M, K}, 2);
        out.both({N, K}, [&](auto* dx) { be.linear_vjp(x, w, dy, dx, nullptr, nullptr); });
        out.both({M, K}, [&](auto* dw) { be.linear_vjp(x, w, dy, nullptr, dw, nullptr); });
        out.both({M}, [&](auto* db) { be.linear_vjp(x, w, dy, nullptr, nullptr, db); });
    }
    for (const Index K : {12, 40, 72}) {
        const auto q = of(27, 6 * K, 1), k = of(90, 2 * K, 2), v = of(90, 2 * K, 3), dy = of(27, 6 * K, 4);
        out.both(q.shape(), [&](auto* d) { be.attention_vjp(q, k, v, Heads{6, 2}, causal, dy, d, nullptr, nullptr); });
        out.both(k.shape(), [&](auto* d) { be.attention_vjp(q, k, v, Heads{6, 2}, causal, dy, nullptr, d, nullptr); });
        out.both(v.shape(), [&](auto* d) { be.attention_vjp(q, k, v, Heads{6, 2}, causal, dy, nullptr, nullptr, d); });
    }
    const auto x = of(9, 300, 1), g = of(9, 300, 2), w = random(be, {300}, 3);
    out.both(x.shape(), [&](auto* d) { be.rms_norm_vjp(x, w, 1e-5, g, d, nullptr); });
    out.both(w.shape(), [&](auto* d) { be.layer_norm_vjp(x, w, 1e-5, g, nullptr, d, nullptr); });
    out.both(x.shape(), [&](auto* d) { be.gelu_tanh_vjp(x, g, d); });
    out.both(x.shape(), [&](auto* d) { be.silu_mul_vjp(x, g, g, d, nullptr); });
    const Int32s targets{3, ignore_index, 0, 299, 1, 2, ignore_index, 5, 7};
    out(be.cross_entropy(x, targets));
    out.both(x.shape(), [&](auto* d) { be.cross_entropy_vjp(x, targets, random(be, {1}, 5), d); });
    const Int32s ids{4, 0, 4, 4, 2, 1, 8, 8, 0};
    Tensor<Cuda<T>> rows = of(10, 300, 6), written = of(9, 300, 7);
    be.gather_rows_vjp(ids, g, &rows);
    be.scatter_rows_vjp(ids, g, &written, nullptr);
    out(rows);
    out(written);
}

template <class T>
std::vector<float> every_op() {
    Results<T> results;
    forward(results);
    backward(results);
    return results.all;
}

}  // namespace

TEST_CASE_TEMPLATE("residual and norm in one kernel: the bits of one after the other; who else holds x keeps what it has", T,
                   float, bfloat16) {
    Cuda<T> be;
    for (const Index D : {1, 72, 300}) {
        const auto h = random(be, {5, D}, 2), w = random(be, {D}, 3), b = random(be, {D}, 4);
        const auto before = random(be, {5, D}, 1);
        auto one = before, other = before, separate = random(be, {5, D}, 1);
        const auto rms = be.add_rms_norm(one, h, w, 1e-5), layer = be.add_layer_norm(other, h, w, b, 1e-5);
        be.add_to(separate, h);
        CHECK(inequality(host(be, rms), host(be, be.rms_norm(separate, w, 1e-5))) == "");
        CHECK(inequality(host(be, layer), host(be, be.layer_norm(separate, w, b, 1e-5))) == "");
        CHECK(inequality(host(be, one), host(be, separate)) == "");
        CHECK(inequality(host(be, other), host(be, separate)) == "");
        CHECK(inequality(host(be, before), host(be, random(be, {5, D}, 1))) == "");
        be.add_rms_norm(one, h, w, 1e-5);  // in place: nobody else holds it
        be.add_to(separate, h);
        CHECK(inequality(host(be, one), host(be, separate)) == "");
        CHECK(error_of([&] { be.add_rms_norm(one, random(be, {4, D}, 2), w, 1e-5); }) != "");
    }
}

TEST_CASE_TEMPLATE("schedules: no op's bits depend on the order of threads, on when copies arrive, on what memory held", T,
                   float, bfloat16) {
    CHECK(departing_schedule(every_op<T>, few_schedules) == "");
}

TEST_CASE_TEMPLATE("schedules: the same for all twelve" * doctest::skip(), T, float, bfloat16) {
    CHECK(departing_schedule(every_op<T>) == "");
}

#endif
