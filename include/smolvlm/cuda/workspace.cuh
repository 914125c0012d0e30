#pragma once
/// What Cuda<T> makes its tensors with: memory of the pool, copies of operands that somebody else holds, places for
/// gradients, norms, lists brought to the device; and the plans of the batches it has lately seen.

#include <list>

#include <smolvlm/cuda/norm.cuh>
#include <smolvlm/cuda/plan.cuh>
#include <smolvlm/cuda/rows.cuh>
#include <smolvlm/cuda/tensor.cuh>

namespace smolvlm::cuda {

template <class E>
std::size_t bytes(Index count) {
    return static_cast<std::size_t>(count) * sizeof(E);
}
template <class E>
const E* items(const Memory& list) {
    return static_cast<const E*>(list.data());
}

inline HeadShape head_shape(const Shape& q, Heads heads) {
    const Index K = q[1] / heads.query;
    return {static_cast<int>(heads.query), static_cast<int>(heads.kv), static_cast<int>(K),
            1.0f / std::sqrt(static_cast<float>(K))};
}
inline PatchPixel patch_pixel(const Shape& x, Index patch) {
    return {static_cast<int>(x[1]), static_cast<int>(x[2]), static_cast<int>(x[3]), static_cast<int>(patch)};
}
inline PixelShuffle shuffle(Index rows, Index cols, Index s, Index D) {
    return {static_cast<int>(rows), static_cast<int>(cols), static_cast<int>(s), static_cast<int>(D)};
}

template <class T>
class Workspace {
protected:
    using Tensor = DeviceTensor<T>;

    Tensor make(const Shape& shape) { return Tensor(shape, on_.take(bytes<T>(shape.numel()))); }
    /// Where the result of an elementwise op on x goes: x itself when nobody else can see it.
    Tensor like(const Tensor& x, const Shape& shape) {
        return x.memory().writable_alone() ? Tensor(shape, x.memory()) : make(shape);
    }
    /// Copies x first if anybody else can see its elements.
    Tensor& own(Tensor& x) {
        if (!x.memory().writable_alone()) {
            Tensor copy = make(x.shape());
            on_.copy(std::as_const(x).data(), copy.data(), bytes<T>(x.numel()));
            x = std::move(copy);
        }
        return x;
    }

    static Sink<T> over(Tensor& y) { return {y.data(), false}; }
    /// Where a vjp puts its result; a gradient that nothing has been added to yet gets its elements here.
    Sink<T> sink(Tensor* dx, const Shape& shape) {
        if (!dx) return {};
        const bool add = !dx->empty();
        if (!add) *dx = make(shape);
        return {own(*dx).data(), add};
    }
    /// The same for kernels that do not reach all of it.
    Sink<T> sum_into(Tensor* dx, const Shape& shape) {
        if (dx->empty()) {
            *dx = make(shape);
            on_.fill_zero(dx->data(), bytes<T>(shape.numel()));
        }
        return {own(*dx).data(), true};
    }

    static DenseRows<T> dense(const Tensor& x, Index width) { return {x.data(), static_cast<int>(width)}; }
    static DenseColumns<T> columns(const Tensor& x, Index width) { return {x.data(), static_cast<int>(width)}; }

    template <class List>
    Memory upload(const List& list) {
        return on_.upload(std::data(list), std::size(list) * sizeof(*std::data(list)));
    }
    std::vector<std::int32_t> ids_on_host(const Memory& ids, Index count) {
        std::vector<std::int32_t> out(static_cast<std::size_t>(count));
        on_.download(ids.data(), out.data(), bytes<std::int32_t>(count));
        return out;
    }
    void move(const Tensor& x, const std::vector<Move>& moves, Sink<T> y, Index D) {
        const Memory list = upload(moves);
        move_rows(on_.stream(), x.data(), items<Move>(list), static_cast<Index>(moves.size()), y, D);
    }

    /// The norm of x, or of x + h, which goes to sum.
    template <bool Centred>
    Tensor norm(const Shape& shape, const T* x, const T* h, T* sum, const Tensor& weight, const Tensor& bias, double eps) {
        Tensor y = make(shape);
        cuda::norm<Centred>(on_.stream(), x, h, sum, weight.data(), bias.data(), static_cast<float>(eps), y.data(),
                            shape[0], shape[1]);
        return y;
    }
    template <bool Centred>
    Tensor add_norm(Tensor& x, const Tensor& h, const Tensor& weight, const Tensor& bias, double eps) {
        Tensor sum = like(x, x.shape());
        Tensor y = norm<Centred>(x.shape(), std::as_const(x).data(), h.data(), sum.data(), weight, bias, eps);
        x = std::move(sum);
        return y;
    }

    /// Layers ask for the same batch again and again, that of the text or that of the pictures; a decode step brings a new one.
    SegmentPlan& plan(const Segments& segments) {
        for (SegmentPlan& known : plans_)
            if (known.is_for(segments)) return known;
        if (plans_.size() >= 2) plans_.pop_back();
        return plans_.emplace_front(segments);
    }
    TurnTable& turn_table(double theta, Index head_width) {
        for (TurnTable& table : tables_)
            if (table.is_for(theta, head_width)) return table;
        return tables_.emplace_back(theta, head_width);
    }

    Runtime on_;

private:
    std::list<SegmentPlan> plans_;
    std::list<TurnTable> tables_;
};

}  // namespace smolvlm::cuda
