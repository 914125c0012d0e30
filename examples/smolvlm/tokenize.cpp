// smolvlm tokenize: text to ids and ids to text, one JSON value a line.

#include "commands.hpp"
#include "console.hpp"
#include "inputs.hpp"

namespace cli {
namespace {

using namespace smolvlm;

/// Reads standard input line by line, of any length.
class Lines {
public:
    Lines() = default;
    Lines(const Lines&) = delete;
    Lines& operator=(const Lines&) = delete;
    ~Lines() { std::free(buffer_); }

    bool next(std::string_view& line) {
        const auto length = ::getline(&buffer_, &capacity_, stdin);
        if (length < 0) {
            SMOLVLM_CHECK(!std::ferror(stdin), ValueError, "standard input cannot be read: ", std::strerror(errno));
            return false;
        }
        line = {buffer_, static_cast<std::size_t>(length)};
        if (line.ends_with('\n')) line.remove_suffix(1);
        ++number_;
        return true;
    }
    /// The place in a message.
    std::string where() const { return join("standard input, line ", number_); }

private:
    char* buffer_ = nullptr;
    std::size_t capacity_ = 0;
    Index number_ = 0;
};

}  // namespace

int tokenize(const Words& words) {
    ModelFlags model;
    bool decode = false, skip_special = false;
    Arguments arguments("tokenize",
                        "One JSON value per line on standard input, one per line on standard output:\n"
                        "a string becomes the array of its token ids; with --decode an array of ids becomes a string.");
    model.declare(arguments);
    arguments.toggle("--decode", decode, "ids to text");
    arguments.toggle("--skip-special", skip_special, "with --decode: leave out special tokens");
    if (!arguments.parse(words)) return print(arguments.help()), 0;
    SMOLVLM_CHECK(decode || !skip_special, ValueError, "--skip-special goes with --decode");

    const Tokenizer tokenizer = model.open_processor().tokenizer;
    Lines lines;
    for (std::string_view line; lines.next(line);) {
        // Ids that no token has decode to nothing, as in the reference.
        print((decode ? json_string(tokenizer.decode(read_json_ids(line, lines.where()), skip_special))
                      : json_array(tokenizer.encode(read_json_string(line, lines.where())))) +
              '\n');
    }
    return 0;
}

}  // namespace cli
