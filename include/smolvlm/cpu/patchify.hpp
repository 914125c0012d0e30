#pragma once
/// Pictures to patches and patches to tokens, run by run.      definitions: ref/patchify.hpp, ref/pixel_shuffle.hpp

#include <smolvlm/core/byte_pixels.hpp>

namespace smolvlm::cpu {

/// x [I, C, height, width]   ->   y [I * (height/p) * (width/p), C*p*p]: f(run, c, to) makes of p pixels of channel c, which
/// lie side by side in x, the p numbers in y.
template <class S, class T, class F>
void for_patch_runs(const View<const S>& x, Index p, const View<T>& y, int threads, F f) {
    const Index I = x.dim(0), C = x.dim(1), height = x.dim(2), width = x.dim(3), rows = height / p, cols = width / p;
    if (rows == 0 || cols == 0) return;
    parallel_for(threads, I * rows * cols, Index(64), [&](Index begin, Index end) {
        for (Index n = begin; n < end; ++n) {
            const Index i = n / (rows * cols), Y = n / cols % rows, X = n % cols;
            T* out = y.data() + n * C * p * p;
            for (Index c = 0; c < C; ++c)
                for (Index dy = 0; dy < p; ++dy, out += p)
                    f(x.data() + ((i * C + c) * height + Y * p + dy) * width + X * p, c, out);
        }
    });
}

template <class T>
void patchify(In<T> x, Index p, View<T> y, int threads) {
    for_patch_runs(x, p, y, threads, [p](const T* from, Index, T* to) { std::copy_n(from, p, to); });
}
template <class T>
void patchify_bytes(const BytePixels& x, Index p, View<T> y, int threads) {
    for_patch_runs(x.bytes(), p, y, threads, [&x, p](const std::uint8_t* from, Index c, T* to) {
        const float* const numbers = x.numbers(c);
        for (Index i = 0; i < p; ++i) to[i] = static_cast<T>(numbers[from[i]]);
    });
}

/// x [I * rows*cols, D]   ->   y [I * (rows/s)*(cols/s), s*s*D]: s neighbours are s*D numbers in a row of both.
template <class T>
void pixel_shuffle(In<T> x, Index rows, Index cols, Index s, View<T> y, int threads) {
    const Index run = s * x.dim(1), tokens = y.dim(0);
    parallel_for(threads, tokens, Index(16), [&](Index begin, Index end) {
        for (Index n = begin; n < end; ++n) {
            const Index i = n / ((rows / s) * (cols / s)), Y = n / (cols / s) % (rows / s), X = n % (cols / s);
            for (Index dy = 0; dy < s; ++dy)
                std::copy_n(x.data() + ((i * rows + Y * s + dy) * cols + X * s) * x.dim(1), run,
                            y.data() + (n * s + dy) * run);
        }
    });
}

}  // namespace smolvlm::cpu
