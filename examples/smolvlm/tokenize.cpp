// smolvlm tokenize: text to ids and ids to text, one JSON value a line.

#include <smolvlm/io/json.hpp>

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

std::string ids_of(const Tokenizer& tokenizer, const Json& value, std::string_view where) {
    return json_array(tokenizer.encode(value_as<std::string>(value, "the value", where)));
}

std::string text_of(const Tokenizer& tokenizer, const Json& value, bool skip_special, std::string_view where) {
    SMOLVLM_CHECK(value.is_array(), FormatError, where, ": expected an array of token ids, found ",
                  smolvlm::detail::describe(value));
    std::vector<std::int32_t> ids;
    for (const Json& entry : value) {
        const Index id = value_as<Index>(entry, join("element ", ids.size()), where);
        // Ids that no token has decode to nothing, as in the reference.
        SMOLVLM_CHECK(id >= 0 && id <= std::numeric_limits<std::int32_t>::max(), ValueError, where, ": element ",
                      ids.size(), " is ", id, ", expected a token id from 0 to ", tokenizer.vocab_size() - 1);
        ids.push_back(static_cast<std::int32_t>(id));
    }
    return json_string(tokenizer.decode(ids, skip_special));
}

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

    const Processor processor = model.open_processor();
    Lines lines;
    for (std::string_view line; lines.next(line);) {
        const Json value = parse_json(line, lines.where());
        const std::string answer = decode ? text_of(processor.tokenizer, value, skip_special, lines.where())
                                          : ids_of(processor.tokenizer, value, lines.where());
        print(answer + '\n');
    }
    return 0;
}

}  // namespace cli
