// What happens before the model: a text to token ids, and a picture to frames. bench/peers/before_the_model.py compares the
// results and the times with HF tokenizers and transformers.
//
//     bench_pictures_and_text MODEL TEXT IDS_OUT RGB WIDTH HEIGHT FRAMES_OUT [THREADS] [ROUNDS]
//
// TEXT: a file of UTF-8; RGB: a file of WIDTH x HEIGHT x 3 bytes. IDS_OUT: i32; FRAMES_OUT: u8 [F, 3, T, T]. Prints the times of
// every round in seconds as JSON.

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include <smolvlm/checkpoint/hf_folder.hpp>

namespace {

using namespace smolvlm;

template <class F>
double seconds(F f) {
    const auto start = std::chrono::steady_clock::now();
    f();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

template <class T>
void write_file(const std::string& path, std::span<const T> values) {
    AtomicFile file(path);
    file.write(std::as_bytes(values));
    file.commit();
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 8)
        return std::fprintf(stderr, "bench_pictures_and_text MODEL TEXT IDS RGB WIDTH HEIGHT FRAMES [THREADS] [ROUNDS]\n"), 2;
    try {
        constexpr Index most = Index(1) << 30;
        const Processor processor = read_processor(arguments[1]);
        const std::string text = read_text_file(arguments[2], most), rgb = read_text_file(arguments[4], most);
        const Index width = std::atol(arguments[5]), height = std::atol(arguments[6]);
        const int threads = count > 8 ? std::atoi(arguments[8]) : 1, rounds = count > 9 ? std::atoi(arguments[9]) : 5;
        SMOLVLM_CHECK(static_cast<Index>(rgb.size()) == width * height * 3, ValueError, arguments[4], ": ", rgb.size(),
                      " bytes are no picture of ", width, "x", height);

        Json tokenize = Json::array(), planes = Json::array(), frames = Json::array(), values = Json::array();
        for (int round = 0; round < rounds; ++round) {
            std::vector<std::int32_t> ids;
            tokenize.push_back(seconds([&] { ids = processor.tokenizer.encode(text); }));
            Image picture;
            planes.push_back(seconds([&] {
                picture = Image::from_interleaved(reinterpret_cast<const std::uint8_t*>(rgb.data()), width, height);
            }));
            ProcessedImage made;
            frames.push_back(seconds([&] { made = process_image(picture, processor.image, {}, threads); }));
            values.push_back(seconds([&] { pixel_values(made, processor.image, threads); }));
            if (round > 0) continue;
            write_file(arguments[3], std::span<const std::int32_t>(ids));
            write_file(arguments[7], std::span<const std::uint8_t>(made.pixel_u8.flat()));
        }
        const Json found{{"tokenize_s", tokenize}, {"planes_s", planes}, {"frames_s", frames}, {"values_s", values}};
        std::printf("%s\n", found.dump().c_str());
        return 0;
    } catch (const std::exception& error) {
        return std::fprintf(stderr, "%s\n", error.what()), 1;
    }
}
