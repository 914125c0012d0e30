#include <smolvlm/io/gguf_writer.hpp>

#include <smolvlm/core/random.hpp>

#include <doctest/doctest.h>

#include "support/error_text.hpp"
#include "support/temp_dir.hpp"

using namespace smolvlm;
using namespace testing;

namespace {

HostTensor<float> random_tensor(Shape shape) {
    HostTensor<float> x(shape);
    Random random(11);
    for (float& value : x.flat()) value = static_cast<float>(random.normal());
    return x;
}

/// Builds files by hand, lies included.
struct Bytes {
    std::string text;

    template <class T>
    Bytes& n(T value) {
        detail::append_bytes(text, value);
        return *this;
    }
    Bytes& u32(std::uint32_t value) { return n(value); }
    Bytes& u64(std::uint64_t value) { return n(value); }
    Bytes& s(std::string_view value) {
        detail::append_gguf_string(text, value);
        return *this;
    }
    /// Zero bytes up to a multiple of 32, then `size` more.
    Bytes& data(std::size_t size) {
        text.resize((text.size() + 31) / 32 * 32 + size);
        return *this;
    }
};

Bytes header(std::uint64_t tensors, std::uint64_t keys, std::uint32_t version = 3) {
    Bytes bytes{"GGUF"};
    return bytes.u32(version).u64(tensors).u64(keys);
}

}  // namespace

TEST_CASE("gguf: what was written is read back, every metadata and tensor type") {
    const TempDir folder;
    const std::string path = folder / "t.gguf";
    const auto x = random_tensor(Shape{3, 64});
    const auto weight = HostWeight::from_tensor(x);
    std::vector<HostWeight> kept;
    std::vector<NamedTensor> tensors{NamedTensor::of("f32", x)};
    for (DType dtype : {DType::f16, DType::bf16, DType::f64, DType::q8_0, DType::q4_0, DType::q4_1})
        kept.push_back(weight.converted(dtype));
    for (const HostWeight& w : kept) tensors.push_back(NamedTensor::of(std::string(info(w.dtype).name), w));
    const auto one = random_tensor(Shape{5});
    tensors.push_back(NamedTensor::of("one", one));
    const Json metadata = {{"general.architecture", "llama"},  {"count", 30},
                           {"negative", -4},                   {"wide", 1ULL << 40},
                           {"real", 0.5},                      {"yes", true},
                           {"types", {1, 3, -1}},              {"names", {"a", std::string("\xff\0b", 3)}},
                           {"nested", {{1, 2}, {3}}},          {"none", Json::array()}};
    save_gguf(path, metadata, tensors);

    const auto file = Gguf::open(path);
    CHECK(file.metadata() == metadata);
    CHECK(file.tensors().size() == 8);
    CHECK(file.at("f32").shape == Shape{3, 64});
    CHECK(file.at("one").shape == Shape{5});
    CHECK(file.host_weight("Q4_0").storage.borrowed());
    for (const HostWeight& w : kept) {
        const auto y = file.host_weight(info(w.dtype).name);
        CHECK(y.dtype == w.dtype);
        CHECK(std::equal(y.bytes(), y.bytes() + bytes_of(w.dtype, w.shape()), w.bytes()));
    }
    CHECK(file.tensor<float>("f32").flat()[191] == x.flat()[191]);
}

TEST_CASE("gguf: all metadata types of the format are read, in version 2 as in version 3") {
    const TempDir folder;
    for (std::uint32_t version : {2u, 3u}) {
        Bytes b = header(0, 12, version);
        b.s("u8")
            .u32(0)
            .n(std::uint8_t{200})
            .s("i8")
            .u32(1)
            .n(std::int8_t{-100})
            .s("u16")
            .u32(2)
            .n(std::uint16_t{60000});
        b.s("i16").u32(3).n(std::int16_t{-30000}).s("u32").u32(4).u32(4000000000u).s("i32").u32(5).n(-2000000000);
        b.s("f32").u32(6).n(1.5f).s("bool").u32(7).n(std::uint8_t{1}).s("string").u32(8).s("text");
        b.s("u64").u32(10).u64(~0ULL).s("i64").u32(11).n(std::int64_t{-5}).s("f64").u32(12).n(0.1);
        const Json metadata = Gguf::open(folder.write("t.gguf", b.text)).metadata();
        CHECK(metadata == Json{{"u8", 200}, {"i8", -100}, {"u16", 60000}, {"i16", -30000}, {"u32", 4000000000u},
                               {"i32", -2000000000}, {"f32", 1.5}, {"bool", true}, {"string", "text"},
                               {"u64", ~0ULL}, {"i64", -5}, {"f64", 0.1}});
        CHECK(get<Index>(metadata, "u32", "t.gguf") == 4000000000);
    }
}

TEST_CASE("gguf: every lie in a header is an error that names the file and the place") {
    const TempDir folder;
    const auto message = [&](const Bytes& bytes) {
        const std::string path = folder.write("bad.gguf", bytes.text);
        const std::string text = error_of([&] { Gguf::open(path); });
        CHECK(contains(text, "bad.gguf: "));
        CHECK(text.find('\n') == text.npos);
        return text;
    };
    const auto one_tensor = [](std::uint32_t type, std::uint64_t offset, auto... extents) {
        Bytes b = header(1, 0);
        b.s("w").u32(sizeof...(extents));
        (b.u64(static_cast<std::uint64_t>(extents)), ...);
        return b.u32(type).u64(offset);
    };
    CHECK(contains(message(Bytes{"GGUF"}), "is no GGUF file"));
    CHECK(contains(message(Bytes{"GGML" + header(0, 0).text.substr(4)}), "is no GGUF file"));
    CHECK(contains(message(header(0, 0, 1)), "GGUF version 1, expected 2 or 3"));
    CHECK(contains(message(header(0, 0, 0x03000000)), "GGUF version 50331648"));
    CHECK(contains(message(header(1ULL << 60, 1ULL << 60)),
                   "1152921504606846976 tensors are announced, but only 8 bytes"));
    CHECK(contains(message(header(0, 1ULL << 60)), "1152921504606846976 keys are announced"));
    CHECK(contains(message(header(0, 1).u64(~0ULL).u64(0)), "byte 24: 18446744073709551615 characters are announced"));
    CHECK(contains(message(header(0, 1).s("a key").u32(13).u64(0)), "the key \"a key\" has the unknown type 13"));
    CHECK(contains(message(header(0, 1).s("a key").u32(4)), "byte 41: the file ends where 4 more bytes"));
    CHECK(contains(message(header(0, 1).s("k").u32(9).u32(8).u64(1ULL << 50)), "array elements are announced"));
    CHECK(contains(message(header(0, 2).s("k").u32(0).n('\0').s("k").u32(0).n('\0')), "\"k\" appears twice"));
    Bytes deep = header(0, 1).s("k").u32(9);
    for (int i = 0; i < 100000; ++i) deep.u32(9).u64(1);
    CHECK(contains(message(deep), "the key \"k\" nests arrays too deep"));
    CHECK(contains(message(header(0, 1).s("general.alignment").u32(4).u32(3)), "\"general.alignment\" is 3"));
    CHECK(contains(message(header(0, 1).s("general.alignment").u32(8).s("x")), "expected an integer"));

    CHECK(error_of([&] { Gguf::open(folder.write("good.gguf", one_tensor(0, 0, 4).data(16).text)); }) == "");
    CHECK(contains(message(one_tensor(0, 0, 4).data(15)),
                   "its 16 bytes at offset 0 do not lie within the 15 data bytes"));
    CHECK(contains(message(one_tensor(0, 64, 4).data(64)), "do not lie within"));
    CHECK(contains(message(one_tensor(0, ~0ULL / 2 - 31, 4).data(64)), "do not lie within"));
    CHECK(contains(message(one_tensor(0, ~0ULL, 4).data(64)), "tensor \"w\": the offset is 18446744073709551615"));
    CHECK(contains(message(one_tensor(0, 4, 4).data(64)), "offset 4 is no multiple of the alignment 32"));
    CHECK(contains(message(one_tensor(16, 0, 256).data(256)), "tensor \"w\" has the ggml type 16"));
    CHECK(contains(message(one_tensor(8, 0, 33).data(64)), "no multiple of the 32-element blocks of Q8_0"));
    CHECK(contains(message(one_tensor(0, 0, 1ULL << 40, 1ULL << 40).data(64)), "too many elements"));
    CHECK(contains(message(one_tensor(0, 0, ~0ULL).data(64)), "tensor \"w\": an extent is 18446744073709551615"));
    CHECK(contains(message(one_tensor(0, 0, 1, 1, 1, 1, 1).data(64)), "5 dimensions, expected 1 to 4"));
    CHECK(contains(message(one_tensor(0, 0).data(64)), "0 dimensions"));
    Bytes two = header(2, 0);
    for (const char* name : {"a", "b"}) two.s(name).u32(1).u64(9).u32(0).u64(*name == 'a' ? 0 : 32);
    CHECK(contains(message(Bytes(two).data(68)), "tensor \"b\" at offset 32 overlaps another"));
    Bytes same = header(2, 0);
    for (std::uint64_t offset : {0u, 32u}) same.s("a").u32(1).u64(8).u32(0).u64(offset);
    CHECK(contains(message(same.data(64)), "tensor \"a\" appears twice"));
}

TEST_CASE("gguf: the writer refuses what the format cannot hold, and writes nothing then") {
    const TempDir folder;
    const std::string path = folder / "t.gguf";
    const auto x = random_tensor(Shape{1, 1, 1, 1, 2});
    CHECK(contains(error_of([&] { save_gguf(path, {{"k", nullptr}}, {}); }), "is null, which GGUF cannot hold"));
    CHECK(contains(error_of([&] {
                       save_gguf(path, {{"k", {1, "a"}}}, {});
                   }),
                   "mixes the number 1 and the string \"a\""));
    CHECK(contains(error_of([&] { save_gguf(path, Json::object(), {NamedTensor::of("x", x)}); }), "expected 1 to 4"));
    CHECK_FALSE(std::filesystem::exists(path));
}
