// Folders whose matrices lie in panels: what is loaded from them is what --dtype makes of the original, bit for bit.

#include <doctest/doctest.h>

#include <smolvlm/checkpoint/load.hpp>
#include <smolvlm/checkpoint/save_panels.hpp>
#include <smolvlm/cpu/cpu.hpp>
#include <smolvlm/ref/ref.hpp>

#include "support/error_text.hpp"
#include "support/temp_dir.hpp"

using namespace smolvlm;
using namespace testing;

namespace {

constexpr IntegerFormat panel_formats[] = {IntegerFormat::int8, IntegerFormat::q8_0, IntegerFormat::q4_0,
                                           IntegerFormat::bf16};

std::string golden_folder(const std::string& name) { return std::string(SMOLVLM_TEST_DIR) + "/golden/models/" + name; }

Precision precision_of(IntegerFormat format) {
    return format == IntegerFormat::int8 ? Precision::int8 : Precision::native;
}
std::optional<DType> dtype_of_flag(IntegerFormat format) {
    return format == IntegerFormat::int8 ? std::nullopt : std::optional(dtype_of_rows(format));
}

/// A golden model in panels, in a folder of its own.
struct Panels {
    TempDir folder;
    std::string path;

    explicit Panels(IntegerFormat format, const std::string& name = "gqa_untied_r2") : path(folder / "panels") {
        Cpu<float> be(1, CpuPath::avx512bf16, precision_of(format));
        save_panels(be, open_checkpoint(golden_folder(name)), path, format, {.copy_from = golden_folder(name)});
    }
    std::string file() const { return path + "/model.safetensors"; }
    /// Writes the file again with other metadata.
    void change(auto&& change) const {
        const auto file = Safetensors::open(this->file());
        Safetensors::Metadata metadata = file.metadata();
        change(metadata);
        std::vector<NamedTensor> tensors;
        std::vector<HostWeight> kept;
        for (const auto& [name, tensor] : file.tensors()) {
            kept.push_back(file.host_weight(name));
            tensors.push_back(NamedTensor::of(name, kept.back()));
        }
        save_safetensors(path + "/other", tensors, metadata);
        std::filesystem::rename(path + "/other", this->file());
    }
    std::string error() const {
        return error_of([&] {
            Cpu<float> be(1, Precision::native);
            load(be, path);
        });
    }
};

/// Logits of some tokens, and the features of two frames, all in one list.
template <class B>
std::vector<float> numbers_of(B& be, const SmolVLM<B>& model) {
    std::vector<float> all;
    const auto add = [&](const Tensor<B>& x) {
        const auto values = be.to_host(x);
        for (const auto value : std::as_const(values).flat()) all.push_back(static_cast<float>(value));
    };
    const VisionConfig& vision = model.config.vision;
    HostTensor<typename B::Scalar> pixels({2, 3, vision.image_size, vision.image_size});
    for (Index i = 0; i < pixels.numel(); ++i)
        pixels.data()[i] = static_cast<typename B::Scalar>(static_cast<float>(i * 7919 % 255) / 127.5f - 1);
    add(model.encode_images(be, be.from_host(pixels),
                            make_patch_grid(vision, 2, vision.image_size, vision.image_size)));
    const std::vector<std::int32_t> ids{5, 9, 200, 31, 7, 120, 64};
    const Index lengths[] = {static_cast<Index>(ids.size())};
    const auto hidden = model.forward(be, ids, {}, Segments::packed(Segments::Mask::causal, lengths));
    add(model.logits(be, hidden));
    return all;
}

std::vector<CpuPath> all_paths() {
    std::vector<CpuPath> list;
    for (int i = 0; i <= static_cast<int>(best_cpu_path(cpu_features())); ++i) list.push_back(static_cast<CpuPath>(i));
    return list;
}

}  // namespace

TEST_CASE("panels: a model gives the same bits from its panels as from its folder, in every format and on every path") {
    for (const char* name : {"gqa_untied_r2", "mha_tied_r3"})
        for (IntegerFormat format : panel_formats) {
            CAPTURE(name);
            CAPTURE(join(format));
            const Panels panels(format, name);
            const Checkpoint ours = open_checkpoint(panels.path), original = open_checkpoint(golden_folder(name));
            CHECK(read_precision(panels.path) == format);
            for (CpuPath path : all_paths())
                for (int threads : {1, 2}) {
                    CAPTURE(join(path));
                    Cpu<float> be(threads, path, precision_of(format));
                    const auto expected = load_model(be, original.config, *original.weights, dtype_of_flag(format));
                    const auto found = load_model(be, ours.config, *ours.weights);
                    CHECK(numbers_of(be, found) == numbers_of(be, expected));
                }
        }
}

TEST_CASE("panels: backends that multiply none take them as rows, and exact arithmetic takes their exact values") {
    for (IntegerFormat format : panel_formats) {
        CAPTURE(join(format));
        const Panels panels(format);
        const Checkpoint ours = open_checkpoint(panels.path);
        Ref<float> ref;
        Cpu<double> wide(1);
        Cpu<float> exact(1), packed(1, CpuPath::avx512bf16, precision_of(format));  // which nothing is multiplied with
        const auto a = load_model(ref, ours.config, *ours.weights);
        const auto b = load_model(wide, ours.config, *ours.weights);
        const auto c = load_model(exact, ours.config, *ours.weights);
        const auto d = load_model(packed, ours.config, *ours.weights);
        const auto row_of = [&](const auto& weight) {
            std::vector<double> values;
            for (Index m : {0, 47}) {
                std::vector<std::conditional_t<std::is_same_v<decltype(weight), const cpu::PackedWeight<double>&>,
                                               double, float>>
                    row(static_cast<std::size_t>(weight.shape()[1]));
                weight.row(m, row.data());
                values.insert(values.end(), row.begin(), row.end());
            }
            return values;
        };
        const auto expected = row_of(a.text_model.layers[1].mlp.down_proj.weight);
        CHECK(row_of(b.text_model.layers[1].mlp.down_proj.weight) == expected);
        CHECK(row_of(c.text_model.layers[1].mlp.down_proj.weight) == expected);
        CHECK(row_of(d.text_model.layers[1].mlp.down_proj.weight) == expected);
        CHECK(row_of(a.text_model.embed_tokens.weight) == row_of(d.text_model.embed_tokens.weight));
        const auto numbers = numbers_of(ref, a), others = numbers_of(exact, c);
        for (std::size_t i = 0; i < numbers.size(); ++i) CHECK(numbers[i] == doctest::Approx(others[i]).epsilon(1e-3));
    }
}

TEST_CASE("panels: a folder has its files, aligned tensors, and can be quantised again or made ordinary") {
    const Panels panels(IntegerFormat::int8);
    for (const char* name : {"tokenizer.json", "config.json", "generation_config.json", "preprocessor_config.json"})
        CHECK(std::filesystem::exists(panels.path + '/' + name));
    const auto file = Safetensors::open(panels.file());
    for (const auto& [name, tensor] : file.tensors())
        if (tensor.dtype == DType::u8) CHECK(tensor.offset % 64 == 0);
    CHECK(file.at("model.text_model.embed_tokens.weight").dtype == DType::u8);
    CHECK(Safetensors::open(Panels(IntegerFormat::bf16).file()).at("model.text_model.embed_tokens.weight").dtype == DType::bf16);
    const TempDir folder;
    Cpu<float> be(1, CpuPath::avx512bf16, Precision::int8);
    save_panels(be, open_checkpoint(panels.path), folder / "again", IntegerFormat::int8, {.copy_from = panels.path});
    CHECK(read_file(folder / "again/model.safetensors") == read_file(panels.file()));
    Ref<float> ref;
    const Checkpoint ours = open_checkpoint(panels.path);
    const auto model = load_model(ref, ours.config, *ours.weights);
    save(ref, model, ours.generation, folder / "wide", {.dtype = DType::f32, .copy_from = panels.path});
    const Checkpoint wide = open_checkpoint(folder / "wide");
    CHECK(read_precision(folder / "wide") == IntegerFormat::none);
    CHECK(numbers_of(ref, load_model(ref, wide.config, *wide.weights)) == numbers_of(ref, model));
}

TEST_CASE("panels: what is wrong with a file is said in a sentence") {
    const std::string head = "panels:lm_head.weight";
    const auto after = [&](const std::string& key, const std::string& value) {
        const Panels panels(IntegerFormat::int8);
        panels.change([&](Safetensors::Metadata& metadata) { metadata[key] = value; });
        return panels.error();
    };
    CHECK(after("format", "pt") == "");
    CHECK(contains(after("smolvlm_panels", "2"), "its panels are of version \"2\", this program reads version \"1\""));
    CHECK(contains(after("precision", "int4"), "\"precision\" is \"int4\", expected int8, q8_0, q4_0 or bf16"));
    CHECK(contains(after("precision", "q8_0"), "\"quantization_config\" says int8, but the weights in"));
    CHECK(contains(after(head, "int3 296x48"), "begins with no known format"));
    CHECK(contains(after(head, ""), "begins with no known format"));
    for (const char* text :
         {"int8 296x", "int8 296 48", "int8 296x-48", "int8 x", "int8 296x48x", "int8 99999999999999999999x2",
          "int8 9223372036854775807x9223372036854775807", "int8 1x1x1x1x1x1x1x1x1x1x1", "int8 0x48"})
        CHECK(contains(after(head, text), "is no format and shape"));
    CHECK(contains(after(head, "int8 296"), "is no matrix"));
    CHECK(contains(after(head, "int8"), "is no matrix"));
    CHECK(contains(after(head, "q8_0 296x48"), "rows of 48 are no whole blocks of 32"));
    CHECK(contains(after(head, "int8 296x52"), "takes U8 [7, 2688], the tensor is U8 [7, 2496]"));
    CHECK(contains(after(head, "int8 400x48"), "takes U8 [9, 2496], the tensor is U8 [7, 2496]"));
    CHECK(contains(after("panels:nothing", "int8 296x48"), "the file has no tensor of that name"));
    CHECK(contains(after("panels:model.text_model.norm.weight", "int8 48x48"), "the tensor is F32 [48]"));
    CHECK(contains(after(head, "int8 295x48"), "1 of wrong shape: lm_head.weight [295, 48] instead of [296, 48]"));

    const Panels panels(IntegerFormat::q8_0);
    const std::string bytes = read_file(panels.file());
    panels.folder.write("panels/model.safetensors", bytes.substr(0, bytes.size() - 64));
    CHECK(contains(panels.error(), "data_offsets"));
}

TEST_CASE("panels: what is no multiple of 64 bytes in a file is copied, and a tensor without its entry is refused") {
    const Panels panels(IntegerFormat::int8);
    Cpu<float> be(1, Precision::int8);
    const auto before = numbers_of(be, load(be, panels.path).model);
    std::string text = read_file(panels.file());
    const auto size = smolvlm::detail::load<std::uint64_t>(reinterpret_cast<const std::byte*>(text.data()));
    const std::uint64_t longer = size + 4;  // the data begin four bytes later
    text.insert(8 + size, "    ");
    std::memcpy(text.data(), &longer, 8);
    panels.folder.write("panels/model.safetensors", text);
    CHECK(numbers_of(be, load(be, panels.path).model) == before);
    panels.change([](Safetensors::Metadata& metadata) { metadata.erase("panels:lm_head.weight"); });
    CHECK(contains(panels.error(), "lm_head.weight [7, 2496] instead of [296, 48]"));
}

TEST_CASE(
    "panels: the wrong backend, a type that is none of ours and a folder with files are refused, and nothing is left") {
    const TempDir folder;
    const Checkpoint checkpoint = open_checkpoint(golden_folder("gqa_untied_r2"));
    Cpu<float> be(1, CpuPath::avx512bf16, Precision::native);
    CHECK(contains(error_of([&] { save_panels(be, checkpoint, folder / "new", IntegerFormat::int8); }),
                   "was packed as none instead of int8: the backend's precision is another"));
    folder.write("file", "x");
    CHECK(contains(error_of([&] { save_panels(be, checkpoint, folder.path().string(), IntegerFormat::bf16); }),
                   "not empty"));
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}
