#pragma once
/// The shape rule of every op: checks the operands at the door and returns the shape of the result. All backends call these,
/// so a wrong operand gets the same sentence everywhere and kernels need no checks of their own.

#include <smolvlm/backend/segments.hpp>

namespace smolvlm::shapes {

/// x [N, K], w [M, K], bias [M] or none (rank 0) -> [N, M]
inline Shape linear(const Shape& x, const Shape& w, const Shape& bias) {
    SMOLVLM_CHECK(x.rank() == 2 && w.rank() == 2 && x[1] == w[1], ShapeError, "linear: x is ", x, " but the weight is ", w,
                  "; the last dimensions must match");
    SMOLVLM_CHECK(bias.rank() == 0 || bias == Shape{w[0]}, ShapeError, "linear: bias is ", bias, " but the weight is ", w,
                  "; one bias per output row is needed");
    return {x[0], w[0]};
}

/// Rows of a table [V, D] -> [ids, D]
inline Shape gather(std::string_view op, const Shape& table, Ids ids) {
    SMOLVLM_CHECK(table.rank() == 2, ShapeError, op, ": the table is ", table, ", two dimensions are needed");
    for (std::size_t i = 0; i < ids.size(); ++i)
        SMOLVLM_CHECK(ids[i] >= 0 && ids[i] < table[0], ValueError, op, ": id ", ids[i], " at position ", i,
                      " is outside the table of ", table[0], " rows");
    return {static_cast<Index>(ids.size()), table[1]};
}

/// x& [R, D], ids [N], rows [N, D]
inline void scatter_rows(const Shape& x, Ids ids, const Shape& rows) {
    SMOLVLM_CHECK(gather("scatter_rows", x, ids) == rows, ShapeError, "scatter_rows: ", ids.size(), " places in ", x,
                  " but the new rows are ", rows);
}

/// slab& [R, D], rows [N, D]
inline void write_rows(const Shape& slab, const Segments& segments, const Shape& rows) {
    SMOLVLM_CHECK(slab.rank() == 2 && rows == (Shape{segments.rows(), slab[1]}), ShapeError, "write_rows: rows are ", rows,
                  " but ", segments.rows(), " new rows go into a slab of ", slab);
    SMOLVLM_CHECK(segments.key_rows() <= slab[0], ShapeError, "write_rows: key row ", segments.key_rows() - 1,
                  " is outside the slab of ", slab[0], " rows");
}

/// x [N, D] with a weight [D] (and a bias [D], or none) -> [N, D]
inline Shape norm(std::string_view op, const Shape& x, const Shape& weight, const Shape& bias = {}) {
    SMOLVLM_CHECK(x.rank() == 2 && weight == Shape{x[1]}, ShapeError, op, ": weight is ", weight, " but x is ", x,
                  "; the last dimension must match");
    SMOLVLM_CHECK(bias.rank() == 0 || bias == weight, ShapeError, op, ": bias is ", bias, " but weight is ", weight);
    return x;
}

/// x [N, heads*K] -> the same
inline Shape rope(const Shape& x, Index heads, const Segments& segments) {
    SMOLVLM_CHECK(x.rank() == 2 && heads > 0 && x[1] % (2 * heads) == 0, ShapeError, "rope: x is ", x,
                  ", which is not a row of ", heads, " heads of even width");
    SMOLVLM_CHECK(x[0] == segments.rows(), ShapeError, "rope: x has ", x[0], " rows but the segments have ",
                  segments.rows());
    return x;
}

/// q [N, H*K], k, v [R, G*K] -> [N, H*K]
inline Shape attention(const Shape& q, const Shape& k, const Shape& v, Heads heads, const Segments& segments) {
    SMOLVLM_CHECK(heads.kv > 0 && heads.query > 0 && heads.query % heads.kv == 0, ShapeError, "attention: ", heads.query,
                  " query heads cannot share ", heads.kv, " key/value heads");
    SMOLVLM_CHECK(q.rank() == 2 && q[1] % heads.query == 0 && k.rank() == 2 && k == v &&
                      k[1] == q[1] / heads.query * heads.kv,
                  ShapeError, "attention: q is ", q, " with ", heads.query, " heads, so k and v need ", heads.kv,
                  " heads of the same width; k is ", k, ", v is ", v);
    SMOLVLM_CHECK(q[0] == segments.rows() && segments.key_rows() <= k[0], ShapeError, "attention: the segments have ",
                  segments.rows(), " rows and reach key row ", segments.key_rows(), "; q is ", q, ", k is ", k);
    return q;
}

/// Two tensors of equal shape -> that shape
inline Shape same(std::string_view op, const Shape& a, const Shape& b) {
    SMOLVLM_CHECK(a == b, ShapeError, op, ": operands are ", a, " and ", b, "; they must be equal");
    return a;
}

/// x [I, C, height, width], patch p -> [I * patches, C*p*p]
inline Shape patchify(const Shape& x, Index p) {
    SMOLVLM_CHECK(x.rank() == 4 && p > 0, ShapeError, "patchify: x is ", x, " and the patch edge ", p,
                  "; [I, C, height, width] and a positive edge are needed");
    return {x[0] * (x[2] / p) * (x[3] / p), x[1] * p * p};
}

/// x [I * rows*cols, D], factor s -> [I * rows/s * cols/s, s*s*D]
inline Shape pixel_shuffle(const Shape& x, Index rows, Index cols, Index s) {
    SMOLVLM_CHECK(rows > 0 && cols > 0 && x.rank() == 2 && x[0] % (rows * cols) == 0, ShapeError, "pixel_shuffle: x is ", x,
                  ", which is no whole number of ", rows, "x", cols, " grids");
    SMOLVLM_CHECK(s > 0 && rows % s == 0 && cols % s == 0, ShapeError, "pixel_shuffle: the grid ", rows, "x", cols,
                  " is not divisible by ", s);
    return {x[0] / (s * s), x[1] * s * s};
}

/// logits [N, V], targets [N] -> [1]
inline Shape cross_entropy(const Shape& logits, Ids targets) {
    SMOLVLM_CHECK(logits.rank() == 2 && logits[0] == static_cast<Index>(targets.size()), ShapeError,
                  "cross_entropy: logits are ", logits, " but there are ", targets.size(), " targets; one per row is needed");
    for (std::size_t n = 0; n < targets.size(); ++n)
        SMOLVLM_CHECK(targets[n] == ignore_index || (targets[n] >= 0 && targets[n] < logits[1]), ValueError,
                      "cross_entropy: target ", targets[n], " of row ", n, " is neither ", ignore_index, " nor one of ",
                      logits[1], " tokens");
    return {1};
}

}  // namespace smolvlm::shapes
