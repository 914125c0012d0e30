#pragma once
/// Ops in one piece that no contract asks for and layers look for: activation, gate and residual are epilogues of the
/// products (epilogue.cuh), and pixel shuffle is the addressing of one. Against one op after the other this saves, of every
/// block, a reading and writing of its widest matrix, and rounds less.

#include <smolvlm/backend/shapes.hpp>
#include <smolvlm/cuda/pixel_shuffle_linear.cuh>
#include <smolvlm/cuda/workspace.cuh>

namespace smolvlm::cuda {

template <class T>
class FusedOps : protected Workspace<T> {
    using Base = Workspace<T>;

protected:
    using Base::dense, Base::make, Base::on_, Base::over, Base::own;

public:
    using Tensor = DeviceTensor<T>;
    using Weight = DeviceWeight<T>;

    /// x& += gelu_tanh(h w1^T + b1) w2^T + b2: x [N, D], h [N, K], w1 [F, K], w2 [D, F]
    void add_gelu_mlp(Tensor& x, const Tensor& h, const Weight& w1, const Tensor& b1, const Weight& w2, const Tensor& b2) {
        Tensor a = checked_inner(x, h, w1, b1, w2, b2);
        product(h, w1, Activated<GeluTanh, T>{b1.data(), over(a)});
        product(a, w2, Activated<Same, T>{b2.data(), {own(x).data(), true}});
    }
    /// x& += (silu(h gate^T) * (h up^T)) down^T: gate, up [F, K], down [D, F]
    void add_gated_mlp(Tensor& x, const Tensor& h, const Weight& gate, const Weight& up, const Weight& down) {
        Tensor a = checked_inner(x, h, gate, {}, down, {});
        shapes::same("silu_mul", a.shape(), shapes::linear(h.shape(), up.shape(), {}));
        if (gate.dtype() == up.dtype()) {
            Stream& on = on_.stream();
            const GatedSilu<T> out{over(a)};
            const DenseRows<T> left = dense(h, gate.cols());
            gate.with_rows([&](const auto& of_gate) {
                up.with_rows([&](const auto& of_up) {
                    if constexpr (std::is_same_v<decltype(of_gate), decltype(of_up)>)
                        linear(on, left, Interleaved{of_gate, of_up}, out, h.dim(0), 2 * gate.rows(), gate.cols());
                });
            });
        } else {  // of a file that keeps them in two types
            Tensor lets_through = make(a.shape());
            product(h, gate, Activated<Same, T>{nullptr, over(a)});
            product(h, up, Activated<Same, T>{nullptr, over(lets_through)});
            elementwise<SiluMul>(on_.stream(), std::as_const(a).data(), std::as_const(lets_through).data(), a.data(), a.numel());
        }
        product(a, down, Activated<Same, T>{nullptr, {own(x).data(), true}});
    }
    /// linear(pixel_shuffle(x, rows, cols, s), w) without bias
    Tensor pixel_shuffle_linear(const Tensor& x, Index rows, Index cols, Index s, const Weight& w) {
        Tensor y = make(shapes::linear(shapes::pixel_shuffle(x.shape(), rows, cols, s), w.shape(), {}));
        w.with_rows([&](const auto& of_w) {
            cuda::pixel_shuffle_linear(on_.stream(), x.data(), shuffle(rows, cols, s, x.dim(1)), of_w, y.data(), y.dim(0),
                                       y.dim(1));
        });
        return y;
    }

protected:
    /// What an epilogue makes of x w^T.
    template <class Out>
    void product(const Tensor& x, const Weight& w, const Out& y) {
        w.with_rows([&](const auto& rows) {
            linear(on_.stream(), dense(x, w.cols()), rows, y, x.dim(0), w.rows(), w.cols());
        });
    }

private:
    /// Room for what is between the two maps of an MLP, if all operands fit.
    Tensor checked_inner(const Tensor& x, const Tensor& h, const Weight& w1, const Tensor& b1, const Weight& w2,
                         const Tensor& b2) {
        const Shape inner = shapes::linear(h.shape(), w1.shape(), b1.shape());
        shapes::same("add_to", x.shape(), shapes::linear(inner, w2.shape(), b2.shape()));
        return make(inner);
    }
};

}  // namespace smolvlm::cuda
