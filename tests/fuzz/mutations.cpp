// Damaged files are refused with an Error or read as they are: they never crash, hang or throw anything else. Mutations
// are drawn from fixed seeds, so a failure comes back. Worth most under the address and undefined-behaviour sanitizers.

#include <smolvlm/checkpoint/load.hpp>
#include <smolvlm/checkpoint/panel_file.hpp>
#include <smolvlm/io/gguf_writer.hpp>

#include <smolvlm/core/random.hpp>

#include <doctest/doctest.h>

#include "support/temp_dir.hpp"

using namespace smolvlm;
using namespace testing;

namespace {

const std::string model = std::string(SMOLVLM_TEST_DIR) + "/golden/models/gqa_untied_r2";

/// `text` with one to eight changes within its first `reach` bytes.
std::string mutated(std::string text, Random& random, std::size_t reach) {
    constexpr std::string_view words[] = {
        "-1", "0", "null", "[", "]", "{", "}", "\"", ",", "1e999", "18446744073709551615"};
    for (std::uint32_t change = random.below(8) + 1; change > 0 && !text.empty(); --change) {
        const std::size_t at = random.below(static_cast<std::uint32_t>(std::min(reach, text.size())));
        switch (random.below(8)) {
            case 0: text[at] = static_cast<char>(random.bits()); break;
            case 1: text[at] = static_cast<char>(text[at] ^ 1 << random.below(8)); break;
            case 2:
                text.resize(random.below(4) == 0 ? at
                                                 : text.size() - std::min<std::size_t>(text.size(), random.below(9)));
                break;
            case 3: text.erase(at, random.below(9)); break;
            case 4: text.insert(at, words[random.below(std::size(words))]); break;
            case 5:
                text.insert(at, text.substr(random.below(static_cast<std::uint32_t>(text.size())), random.below(40)));
                break;
            case 6:  // a length, count or offset that is far off
                for (std::size_t i = at; i < std::min(at + 8, text.size()); ++i)
                    text[i] = random.below(2) ? '\xff' : '\0';
                break;
            default: std::swap(text[at], text[random.below(static_cast<std::uint32_t>(text.size()))]); break;
        }
    }
    return text;
}

/// Reads `count` mutations of `text`; `read` may throw an Error. At least some must be refused, or nothing was tested.
template <class Read>
void survives(const std::string& text, int count, std::size_t reach, Read&& read) {
    const TempDir folder;
    CHECK_NOTHROW(read(folder.write("file", text)));
    int refused = 0;
    for (int seed = 0; seed < count; ++seed) {
        CAPTURE(seed);
        Random random(static_cast<std::uint64_t>(seed));
        const std::string path = folder.write("file", mutated(text, random, reach));
        try {
            read(path);
        } catch (const Error& error) {
            const std::string message = error.what();
            if (message.find('\n') != message.npos || message.size() > 2000) FAIL("no one-line message: ", message);
            ++refused;
        } catch (const std::exception& other) {
            FAIL("not an Error: ", other.what());
        }
    }
    CHECK(refused > count / 10);
}

/// Looks at every byte of every tensor, as a loader would.
void read_all(const TensorFile& file) {
    for (const auto& tensor : file.tensors()) {
        const HostWeight weight = file.host_weight(tensor.first);
        if (is_floating(weight.dtype) || is_quantized(weight.dtype))
            weight.to_tensor<float>();
        else
            file.tensor<std::int64_t>(tensor.first);
    }
}

std::string small_safetensors() {
    const TempDir folder;
    const auto x = HostTensor<float>::zeros(Shape{3, 5});
    const auto ids = HostTensor<std::int64_t>::zeros(Shape{2});
    const auto mask = HostTensor<std::uint8_t>::zeros(Shape{7});
    save_safetensors(folder / "t",
                     {NamedTensor::of("x", x), NamedTensor::of("ids", ids), NamedTensor::of("mask", mask)},
                     {{"format", "pt"}});
    return read_file(folder / "t");
}

/// A matrix of int8 and one of Q4_0, in panels of zeros.
std::string small_panels() {
    const TempDir folder;
    PanelFile panels;
    panels.precision = IntegerFormat::int8;
    panels.entries = {{"a", {IntegerFormat::int8, {50, 6}}}, {"b", {IntegerFormat::q4_0, {3, 2, 32}}}};
    std::vector<HostTensor<std::uint8_t>> kept;
    std::vector<NamedTensor> tensors;
    for (const auto& [name, entry] : panels.entries) {
        const PanelWeight weight{entry.format, entry.shape, {}};
        kept.push_back(HostTensor<std::uint8_t>::zeros(Shape{weight.panels(), weight.layout().panel_bytes()}));
        tensors.push_back(NamedTensor::of(name, kept.back()));
    }
    save_safetensors(folder / "t", tensors, panels.metadata());
    return read_file(folder / "t");
}

/// Every panel as a loader reads it: all of its rows.
void read_panels(const std::string& path) {
    const auto file = std::make_shared<const Safetensors>(Safetensors::open(path));
    const PanelFile panels = PanelFile::of(*file);
    FileWeights weights(path);
    for (const auto& [name, tensor] : file->tensors())
        if (const auto entry = panels.entries.find(name); entry != panels.entries.end())
            weights.add_panels(name, file, name, entry->second);
        else
            weights.add(name, file, name);
    for (const auto& [name, shape] : weights.shapes()) weights.weight(name).to_tensor<float>();
}

std::string small_gguf() {
    const TempDir folder;
    const auto x = HostTensor<float>::zeros(Shape{3, 32});
    const auto q = HostWeight::from_tensor(x).converted(DType::q4_1);
    save_gguf(folder / "t",
              {{"general.architecture", "llama"}, {"n", 3}, {"names", {"a", "bc"}}, {"nested", {{1, 2}, {3}}}},
              {NamedTensor::of("x", x), NamedTensor::of("q", q)});
    return read_file(folder / "t");
}

}  // namespace

TEST_CASE("fuzz: JSON") {
    survives(read_file(model + "/config.json"), 2000, 1 << 20, [](const std::string& path) {
        parse_model_config(parse_json(read_text_file(path, 1 << 20), path), path);
    });
    survives(read_file(model + "/preprocessor_config.json"), 1000, 1 << 20, [](const std::string& path) {
        parse_image_processor_config(parse_json(read_text_file(path, 1 << 20), path), path);
    });
}

TEST_CASE("fuzz: safetensors") {
    survives(small_safetensors(), 2000, 260, [](const std::string& path) { read_all(Safetensors::open(path)); });
}

TEST_CASE("fuzz: panels in safetensors") { survives(small_panels(), 2000, 400, read_panels); }

TEST_CASE("fuzz: GGUF") {
    survives(small_gguf(), 2000, 300, [](const std::string& path) { read_all(Gguf::open(path)); });
}

TEST_CASE("fuzz: tokenizer.json") {
    survives(read_file(model + "/tokenizer.json"), 500, 1 << 20,
             [](const std::string& path) { load_tokenizer_json(path).encode("Hello 12 <image>"); });
}
