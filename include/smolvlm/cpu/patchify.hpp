#pragma once
/// Pictures to patches and patches to tokens, run by run.      definitions: ref/patchify.hpp, ref/pixel_shuffle.hpp

#include <smolvlm/core/parallel.hpp>
#include <smolvlm/core/view.hpp>

namespace smolvlm::cpu {

/// x [I, C, height, width]   ->   y [I * (height/p) * (width/p), C*p*p]
template <class T>
void patchify(In<T> x, Index p, View<T> y, int threads) {
    const Index I = x.dim(0), C = x.dim(1), height = x.dim(2), width = x.dim(3), rows = height / p, cols = width / p;
    if (rows == 0 || cols == 0) return;
    parallel_for(threads, I * rows * cols, Index(64), [&](Index begin, Index end) {
        for (Index n = begin; n < end; ++n) {
            const Index i = n / (rows * cols), Y = n / cols % rows, X = n % cols;
            T* out = y.data() + n * C * p * p;
            for (Index c = 0; c < C; ++c)
                for (Index dy = 0; dy < p; ++dy, out += p)
                    std::copy_n(x.data() + ((i * C + c) * height + Y * p + dy) * width + X * p, p, out);
        }
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
