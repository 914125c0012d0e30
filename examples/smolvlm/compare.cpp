// smolvlm compare: two safetensors files, tensor by tensor.

#include <cmath>

#include "commands.hpp"
#include "console.hpp"
#include "inputs.hpp"

namespace cli {
namespace {

using namespace smolvlm;

/// How far two tensors of equal shape are apart.
struct Distance {
    double max_abs = 0;    // largest |a - b|; NaN where one of the two is no number
    double magnitude = 0;  // largest |a| or |b|
    double cosine = 1;
    Index worst = 0;      // where max_abs is
    double a = 0, b = 0;  // the values there

    double max_rel() const { return max_abs == 0 ? 0 : max_abs / magnitude; }
    bool within(double rtol) const { return max_rel() <= rtol; }  // false for NaN
};

class DistanceSum {
public:
    void add(double a, double b) { add(a, b, a == b ? 0 : std::abs(a - b)); }  // equal infinities are equal
    /// gap: how far a and b are apart, where two integers may be one double.
    void add(double a, double b, double gap) {
        const bool worse = std::isnan(gap) ? !std::isnan(d_.max_abs) : gap > d_.max_abs;
        if (worse) d_.max_abs = gap, d_.worst = place_, d_.a = a, d_.b = b;
        for (const double value : {std::abs(a), std::abs(b)})
            if (std::isfinite(value) && value > d_.magnitude) d_.magnitude = value;
        ab_ += a * b, aa_ += a * a, bb_ += b * b;
        ++place_;
    }
    Distance result() {
        if (aa_ != 0 || bb_ != 0) d_.cosine = ab_ / std::sqrt(aa_ * bb_);
        return d_;
    }

private:
    Distance d_;
    Index place_ = 0;
    double ab_ = 0, aa_ = 0, bb_ = 0;
};

Distance distance(const TensorFile& file_a, const TensorFile& file_b, const std::string& name) {
    DistanceSum sum;
    if (!is_floating(file_a.at(name).dtype)) {
        const auto a = file_a.tensor<std::int64_t>(name), b = file_b.tensor<std::int64_t>(name);
        for (Index i = 0; i < a.numel(); ++i) {
            const std::int64_t x = a.data()[i], y = b.data()[i];
            const auto gap = x < y ? static_cast<std::uint64_t>(y) - static_cast<std::uint64_t>(x)
                                   : static_cast<std::uint64_t>(x) - static_cast<std::uint64_t>(y);
            sum.add(static_cast<double>(x), static_cast<double>(y), static_cast<double>(gap));
        }
        return sum.result();
    }
    const HostWeight a = file_a.host_weight(name), b = file_b.host_weight(name);
    std::vector<double> row_a(static_cast<std::size_t>(a.cols())), row_b(row_a.size());
    for (Index i = 0; i < a.rows(); ++i) {
        a.row(i, row_a.data());
        b.row(i, row_b.data());
        for (std::size_t j = 0; j < row_a.size(); ++j) sum.add(row_a[j], row_b[j]);
    }
    return sum.result();
}

/// Tensors of a trace in the order in which the model computes them, so that the first that departs is the cause of
/// those after it; other tensors follow by name. Numbers inside names count as numbers: layer.9 comes before layer.10.
bool computed_before(const std::string& a, const std::string& b) {
    constexpr std::string_view stages[] = {"vision.position_ids",   "vision.embeddings", "vision.layer.",
                                           "vision.post_layernorm", "connector",         "text.inputs_embeds",
                                           "text.layer.",           "text.norm",         "logits"};
    const auto stage = [&](const std::string& name) {
        std::size_t i = 0;
        while (i < std::size(stages) && !name.starts_with(stages[i])) ++i;
        return i;
    };
    if (stage(a) != stage(b)) return stage(a) < stage(b);
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
        if (digit(a[i]) && digit(b[j])) {
            const auto number = [&](const std::string& text, std::size_t& at) {
                const std::size_t begin = at;
                while (at < text.size() && digit(text[at])) ++at;
                const std::string digits = text.substr(begin, at - begin);
                return digits.substr(std::min(digits.find_first_not_of('0'), digits.size()));
            };
            const std::string x = number(a, i), y = number(b, j);
            if (x.size() != y.size()) return x.size() < y.size();
            if (x != y) return x < y;
        } else {
            if (a[i] != b[j]) return a[i] < b[j];
            ++i, ++j;
        }
    }
    return a < b;
}

std::string place(Index index, const Shape& shape) {
    Shape position;
    for (int axis = 0; axis < shape.rank(); ++axis) {
        Index inner = 1;
        for (int after = axis + 1; after < shape.rank(); ++after) inner *= shape[after];
        position.push_back(index / inner);
        index %= inner;
    }
    return join(position);
}

std::string number(const char* format, double value) {
    char text[40];
    std::snprintf(text, sizeof text, format, value);
    return text;
}

/// Cells in columns as wide as their widest, the first column to the left.
std::string table(const std::vector<std::vector<std::string>>& rows) {
    std::vector<std::size_t> widths;
    for (const auto& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    std::string text;
    for (const auto& row : rows) {
        for (std::size_t i = 0; i < row.size(); ++i) {
            const std::string padding(widths[i] - row[i].size(), ' ');
            const bool last = i + 1 == row.size();
            text += i == 0 ? row[i] + (last ? "" : padding) : (last ? "  " : "  " + padding) + row[i];
        }
        text += '\n';
    }
    return text;
}

}  // namespace

int compare(const Words& words) {
    std::string path_a, path_b;
    double rtol = 1e-5;
    Arguments arguments(
        "compare",
        "Compares two safetensors files tensor by tensor and names the first that departs. Exit code 0: all\n"
        "tensors agree, 1: some do not, 2: error.\n\n"
        "max abs is the largest difference of two elements, max rel that difference divided by the tensor's\n"
        "largest magnitude. A tensor departs when max rel exceeds --rtol, when either side holds NaN, when the\n"
        "shapes differ, or when only one file has it. Floating types may differ; integers must be equal.");
    arguments.positional("A.safetensors", path_a, "the first file");
    arguments.positional("B.safetensors", path_b, "the second file");
    arguments.real("--rtol", rtol, 0, std::numeric_limits<double>::infinity(), false,
                   "tolerated max rel of floating tensors (default 1e-5)");
    if (!arguments.parse(words)) return print(arguments.help()), 0;

    const auto file_a = open_tensors(path_a), file_b = open_tensors(path_b);
    const TensorFile &a = *file_a, &b = *file_b;
    std::vector<std::string> names;
    for (const auto& [name, tensor] : a.tensors()) names.push_back(name);
    for (const auto& [name, tensor] : b.tensors())
        if (!a.find(name)) names.push_back(name);
    std::sort(names.begin(), names.end(), computed_before);

    std::vector<std::vector<std::string>> rows = {
        {"tensor", "dtype", "shape", "max abs", "max rel", "cosine", "worst at", "A there", "B there", ""}};
    std::string first;
    std::size_t departed = 0;
    for (const std::string& name : names) {
        const TensorInfo *in_a = a.find(name), *in_b = b.find(name);
        std::vector<std::string> row = {name};
        bool agrees = false;
        if (!in_a || !in_b) {
            const TensorInfo& only = in_a ? *in_a : *in_b;
            row.insert(row.end(),
                       {join(only.dtype), join(only.shape), "", "", "", "", "", "", in_a ? "only in A" : "only in B"});
        } else if (in_a->shape != in_b->shape) {
            row.insert(row.end(), {join(in_a->dtype), join(in_a->shape), "", "", "", "", "", "",
                                   join("B has shape ", in_b->shape)});
        } else if (is_floating(in_a->dtype) != is_floating(in_b->dtype)) {
            row.insert(row.end(),
                       {join(in_a->dtype), join(in_a->shape), "", "", "", "", "", "", join("B holds ", in_b->dtype)});
        } else {
            const Distance d = distance(a, b, name);
            agrees = is_floating(in_a->dtype) ? d.within(rtol) : d.max_abs == 0;
            const bool same = d.max_abs == 0;
            row.insert(row.end(),
                       {in_a->dtype == in_b->dtype ? join(in_a->dtype) : join(in_a->dtype, "/", in_b->dtype),
                        join(in_a->shape), number("%.2e", d.max_abs), number("%.2e", d.max_rel()),
                        number("%.9f", d.cosine), same ? "-" : place(d.worst, in_a->shape),
                        same ? "-" : number("%.7g", d.a), same ? "-" : number("%.7g", d.b), agrees ? "" : "departs"});
        }
        if (!agrees && departed++ == 0) first = name;
        rows.push_back(std::move(row));
    }
    print(table(rows));
    print(departed == 0 ? join("all ", names.size(), " tensors agree within ", rtol, "\n")
                        : join(departed, " of ", names.size(), " tensors depart; the first is ", first, "\n"));
    return departed == 0 ? 0 : 1;
}

}  // namespace cli
