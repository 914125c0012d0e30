#include <smolvlm/io/safetensors.hpp>

#include <doctest/doctest.h>

#include "support/error_text.hpp"
#include "support/temp_dir.hpp"

using namespace smolvlm;
using namespace testing;

namespace {

/// A file with this header and `data_bytes` zero bytes.
std::string file_bytes(std::string_view header, std::size_t data_bytes) {
    const auto n = static_cast<std::uint64_t>(header.size());
    std::string text(8, '\0');
    std::memcpy(text.data(), &n, 8);
    return text + std::string(header) + std::string(data_bytes, '\0');
}

HostTensor<float> ramp(Shape shape) {
    HostTensor<float> x(shape);
    for (Index i = 0; i < x.numel(); ++i) x.data()[i] = static_cast<float>(i) - 3.5f;
    return x;
}

}  // namespace

TEST_CASE("safetensors: what was written is read back, every dtype, shape and metadata") {
    const TempDir folder;
    const std::string path = folder / "t.safetensors";
    const auto x = ramp(Shape{2, 3});
    const auto half_x = HostWeight::from_tensor(x).converted(DType::f16);
    const HostTensor<std::uint8_t> bytes(Shape{3}, {7, 0, 255});
    const HostTensor<std::int64_t> ids(Shape{2, 1}, {-1, 1LL << 40});
    const HostTensor<double> none(Shape{0, 4});
    save_safetensors(path,
                     {NamedTensor::of("u8", bytes), NamedTensor::of("x", x), NamedTensor::of("half", half_x),
                      NamedTensor::of("ids", ids), NamedTensor::of("none", none)},
                     {{"format", "pt"}});

    const auto file = Safetensors::open(path);
    CHECK(file.tensors().size() == 5);
    CHECK(file.metadata().at("format") == "pt");
    CHECK(file.find("y") == nullptr);
    CHECK(file.at("x").dtype == DType::f32);
    CHECK(file.at("x").shape == Shape{2, 3});
    const auto weight = file.host_weight("x");
    CHECK(weight.storage.borrowed());
    for (const char* name : {"x", "half"}) {
        const auto y = file.tensor<double>(name);
        CHECK(y.shape() == x.shape());
        for (Index i = 0; i < 6; ++i) CHECK(y.data()[i] == double(x.data()[i]));
    }
    CHECK(file.tensor<std::int64_t>("u8").flat()[2] == 255);
    CHECK(file.tensor<std::int64_t>("ids").flat()[0] == -1);
    CHECK(file.tensor<std::int64_t>("ids").flat()[1] == 1LL << 40);
    CHECK(file.tensor<float>("none").shape() == Shape{0, 4});
    CHECK(contains(error_of([&] { file.tensor<float>("ids"); }), "tensor \"ids\" is I64, expected a floating type"));
    CHECK(contains(error_of([&] { file.tensor<std::int64_t>("x"); }), "tensor \"x\" is F32, expected integers"));
    CHECK(contains(error_of([&] { file.at("y"); }), "holds no tensor \"y\""));
    file.release("x");
    CHECK(file.tensor<float>("x").flat()[5] == 1.5f);
}

TEST_CASE("safetensors: integers of every width and booleans become 64-bit integers") {
    const TempDir folder;
    const std::string path = folder / "t.safetensors";
    const auto stored = [](DType dtype, std::initializer_list<int> bytes) {
        HostWeight w{dtype, Shape{Index(bytes.size()) / info(dtype).block_bytes}, Storage::allocate(bytes.size())};
        Index i = 0;
        for (int byte : bytes) w.storage.data()[i++] = static_cast<std::byte>(byte);
        return w;
    };
    const auto b = stored(DType::boolean, {0, 1, 2}), i8 = stored(DType::i8, {0xff, 2});
    const auto i16 = stored(DType::i16, {0xfe, 0xff, 0, 1}), i32 = stored(DType::i32, {0xfd, 0xff, 0xff, 0xff});
    save_safetensors(path, {NamedTensor::of("b", b), NamedTensor::of("i8", i8), NamedTensor::of("i16", i16),
                            NamedTensor::of("i32", i32)});
    const auto file = Safetensors::open(path);
    const auto values = [&](const char* name) {
        const auto x = file.tensor<std::int64_t>(name);
        return std::vector<std::int64_t>(x.flat().begin(), x.flat().end());
    };
    CHECK(values("b") == std::vector<std::int64_t>{0, 1, 1});
    CHECK(values("i8") == std::vector<std::int64_t>{-1, 2});
    CHECK(values("i16") == std::vector<std::int64_t>{-2, 256});
    CHECK(values("i32") == std::vector<std::int64_t>{-3});
}

TEST_CASE("safetensors: a scalar is [1] and unaligned tensors read as well as aligned ones") {
    const TempDir folder;
    std::string bytes = file_bytes(
        R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"s":{"dtype":"F32","shape":[],"data_offsets":[1,5]}})",
        5);
    const float value = 2.5f;
    std::memcpy(bytes.data() + bytes.size() - 4, &value, 4);
    for (int shift = 0; shift < 4; ++shift) {  // pad the header, so that each alignment occurs
        const std::string text = bytes.substr(8, bytes.size() - 13) + std::string(std::size_t(shift), ' ');
        const auto whole = file_bytes(text, 0) + bytes.substr(bytes.size() - 5);
        const auto file = Safetensors::open(folder.write("t.safetensors", whole));
        CHECK(file.at("s").shape == Shape{1});
        const auto weight = file.host_weight("s");
        CHECK(reinterpret_cast<std::uintptr_t>(weight.bytes()) % 4 == 0);
        CHECK(file.tensor<float>("s").flat()[0] == 2.5f);
    }
}

TEST_CASE("safetensors: every lie in a header is an error that names the file and the tensor") {
    const TempDir folder;
    const auto message = [&](std::string_view bytes) {
        const std::string path = folder.write("bad.safetensors", bytes);
        const std::string text = error_of([&] { Safetensors::open(path); });
        CHECK(contains(text, "bad.safetensors"));
        CHECK(text.find('\n') == text.npos);
        return text;
    };
    const auto entry = [&](std::string_view dtype, std::string_view shape, std::string_view offsets,
                           std::size_t data_bytes) {
        return message(file_bytes(
            join(R"({"w":{"dtype":)", dtype, R"(,"shape":)", shape, R"(,"data_offsets":)", offsets, "}}"), data_bytes));
    };
    CHECK(contains(message("abc"), "3 bytes are too few"));
    CHECK(contains(message(file_bytes("{}", 0).substr(0, 9)), "a header of 2 bytes is announced"));
    CHECK(contains(message("\xff\xff\xff\xff\xff\xff\xff\xff{}"), "a header of 18446744073709551615 bytes"));
    CHECK(contains(message(file_bytes("{\"a\":", 0)), "header: byte "));
    CHECK(contains(message(file_bytes("[1,2,3]", 0)), "expected an object of tensors"));
    CHECK(contains(message(file_bytes(R"({"w":7})", 0)), "tensor \"w\": expected a JSON object"));
    CHECK(contains(message(file_bytes(R"({"__metadata__":7})", 0)), "__metadata__ is the number 7"));
    CHECK(contains(message(file_bytes(R"({"__metadata__":{"a":1}})", 0)), "\"a\" is the number 1, expected a string"));
    CHECK(contains(message(file_bytes("{}", 4)), "cover 0 of 4 data bytes"));
    CHECK(contains(entry("\"Q7\"", "[1]", "[0,4]", 4), "tensor \"w\": unknown dtype \"Q7\""));
    CHECK(contains(entry("\"Q8_0\"", "[32]", "[0,34]", 34), "unknown dtype \"Q8_0\""));
    CHECK(contains(entry("5", "[1]", "[0,4]", 4), "\"dtype\" is the number 5"));
    CHECK(contains(entry("\"F32\"", "[1,1,1,1,1,1]", "[0,4]", 4), "6 dimensions"));
    CHECK(contains(entry("\"F32\"", "[-1]", "[0,4]", 4), "negative extent"));
    CHECK(contains(entry("\"F32\"", "[1.0]", "[0,4]", 4), "expected an integer"));
    CHECK(contains(entry("\"F32\"", "[18446744073709551615]", "[0,4]", 4), "expected an integer"));
    CHECK(contains(entry("\"F32\"", "[1099511627776,1099511627776]", "[0,4]", 4), "4 bytes do not hold F32"));
    CHECK(contains(entry("\"F32\"", "[4611686018427387904]", "[0,4]", 4), "4 bytes do not hold F32"));
    CHECK(contains(entry("\"F32\"", "[2]", "[0,4]", 4), "4 bytes do not hold F32 [2]"));
    CHECK(contains(entry("\"F32\"", "[1]", "[0]", 4), "expected two data_offsets"));
    CHECK(contains(entry("\"F32\"", "[1]", "[0.5,4]", 4), "expected an integer"));
    CHECK(contains(entry("\"F32\"", "[1]", "[4,0]", 4), "data_offsets [4, 0] do not lie within"));
    CHECK(contains(entry("\"F32\"", "[1]", "[-4,0]", 4), "do not lie within"));
    CHECK(contains(entry("\"F32\"", "[1]", "[0,1000000000000000]", 4), "do not lie within the 4 data bytes"));
    CHECK(contains(entry("\"F32\"", "[1]", "[4,8]", 8), "data byte 0: a gap"));
    CHECK(contains(entry("\"F32\"", "[1]", "[0,4]", 8), "cover 4 of 8"));
    CHECK(contains(message(file_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                                      R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8)),
                   "data byte 4: two tensors overlap"));
}

TEST_CASE("safetensors: shards read like one file, and the index may neither lie nor leave the folder") {
    const TempDir folder;
    const auto x = ramp(Shape{4}), y = ramp(Shape{2, 2});
    save_safetensors(folder / "a.safetensors", {NamedTensor::of("x", x)});
    save_safetensors(folder / "b.safetensors", {NamedTensor::of("y", y)});
    const auto open_with = [&](std::string_view map) {
        folder.write("model.safetensors.index.json", join(R"({"metadata":{},"weight_map":)", map, "}"));
        return Safetensors::open_folder(folder.path().string());
    };
    const auto file = open_with(R"({"x":"a.safetensors","y":"b.safetensors"})");
    CHECK(file.tensors().size() == 2);
    CHECK(file.tensor<float>("y").flat()[3] == -0.5f);

    const auto message = [&](std::string_view map) { return error_of([&] { open_with(map); }); };
    CHECK(contains(message(R"({"x":"../a.safetensors"})"), "the shard of \"x\" is the string \"../a.safetensors\""));
    CHECK(contains(message(R"({"x":"/etc/passwd"})"), "expected the name of a .safetensors file in the same folder"));
    CHECK(contains(message(R"({"x":5})"), "expected a string"));
    CHECK(contains(message("{}"), "lists no tensors"));
    CHECK(contains(message("[]"), "expected an object"));
    CHECK(contains(message(R"({"x":"b.safetensors"})"), "tensor \"x\" is not in b.safetensors"));
    CHECK(contains(message(R"({"x":"c.safetensors"})"), "c.safetensors: cannot be opened"));
    save_safetensors(folder / "b.safetensors", {NamedTensor::of("x", y)});
    CHECK(contains(message(R"({"x":"a.safetensors","y":"b.safetensors"})"), "tensor \"x\" appears twice"));
    save_safetensors(folder / "model.safetensors", {NamedTensor::of("z", y)});
    CHECK(Safetensors::open_folder(folder.path().string()).find("z"));  // a single file comes before shards
}

TEST_CASE("safetensors: the writer keeps to what it announced, and nothing appears otherwise") {
    const TempDir folder;
    const std::string path = folder / "t.safetensors";
    const auto x = ramp(Shape{4});
    const auto announced = NamedTensor::of("x", x);
    CHECK(contains(error_of([&] { SafetensorsWriter(path, {announced, announced}); }), "given twice"));
    CHECK(contains(error_of([&] { SafetensorsWriter(path, {announced}).commit(); }), "0 of 1 tensors written"));
    SafetensorsWriter writer(path, {announced});
    writer.write(announced.bytes.first(4));  // piece by piece is fine
    CHECK(contains(error_of([&] { writer.commit(); }), "0 of 1 tensors written"));
    CHECK(contains(error_of([&] { writer.write(announced.bytes); }), "tensor 0 of 1 got 20 bytes"));
    writer.write(announced.bytes.subspan(4));
    CHECK(contains(error_of([&] { writer.write(announced.bytes); }), "tensor 1 of 1"));
    CHECK_FALSE(std::filesystem::exists(path));
    writer.commit();
    CHECK(Safetensors::open(path).tensor<float>("x").flat()[0] == -3.5f);
}
