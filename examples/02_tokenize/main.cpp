// Text to tokens and back, one token to a line.
//
//     02_tokenize tests/golden/processor_learned/tokenizer.json "It's 2024: <image> naïve café!"

#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include <smolvlm/checkpoint/tokenizer_json.hpp>
#include <smolvlm/tokenizer/stream_decoder.hpp>

namespace {

void show(const std::string& path, const std::string& text) {
    const smolvlm::Tokenizer tokenizer = smolvlm::load_tokenizer_json(path);
    const bool learned = smolvlm::position_scheme(tokenizer) == smolvlm::PositionScheme::learned;
    std::printf("%lld ids, tile positions are %s\n\n", static_cast<long long>(tokenizer.vocab_size()),
                learned ? "tokens" : "ordinary text");

    smolvlm::EncodeReport report;  // bytes that the vocabulary cannot say are dropped, and told here
    const std::vector<std::int32_t> ids = tokenizer.encode(text, &report);

    // A token may end within a character, which comes whole with the token that ends it.
    smolvlm::StreamDecoder decoder(tokenizer);
    for (const std::int32_t id : ids)
        std::printf("%6d  %-24s '%s'%s\n", id, std::string(tokenizer.token_of(id)).c_str(), decoder.push(id).c_str(),
                    tokenizer.is_special(id) ? "  special" : "");

    std::printf("\n%zu bytes, %zu tokens, %zu bytes dropped\n%s\n", text.size(), ids.size(), report.dropped.size(),
                tokenizer.decode(ids).c_str());
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: %s tokenizer.json TEXT\n", argv[0]);
        return 2;
    }
    try {
        show(argv[1], argv[2]);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
}
