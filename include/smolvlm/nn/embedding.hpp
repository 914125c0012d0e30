#pragma once
#include <smolvlm/nn/module.hpp>

namespace smolvlm {

/// Row ids[n] of a table.                                                                            ref/embedding.hpp
template <Backend B>
struct Embedding {
    Index rows = 0, width = 0;
    Weight<B> weight;  // [rows, width]

    Embedding() = default;
    Embedding(Index table_rows, Index table_width) : rows(table_rows), width(table_width) {}

    Tensor<B> forward(B& be, Ids ids) const { return be.embedding(weight, ids); }  // [N] -> [N, width]

    static void visit(auto& self, auto&& f) { f("weight", self.weight, Shape{self.rows, self.width}); }
};

}  // namespace smolvlm
