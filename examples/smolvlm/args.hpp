#pragma once
/// The command line of one command: flags are declared once, with the variable they fill, and that declaration also
/// makes the checks, the error sentences and the text of --help.
///
///     Arguments arguments("tokenize", "One JSON value per line in, one per line out.");
///     arguments.text("--model", "DIR", model, "folder with a tokenizer.json");
///     arguments.toggle("--decode", decode, "ids to text instead of text to ids");
///     arguments.parse(words);
///
/// A value stands in the next word or after "=": `--seed 7`, `--seed=7`. The last one of a flag given twice counts.

#include <charconv>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <smolvlm/core/shape.hpp>
#include <smolvlm/io/nearest.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "console.hpp"

namespace cli {

using smolvlm::Index;
using Words = std::vector<std::string>;

using smolvlm::nearest;

/// A word in a message: quoted, on one line, not too long.
inline std::string in_quotes(std::string_view word) {
    std::string text = "\"";
    for (const char c : word.substr(0, 60)) text += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    return text + (word.size() > 60 ? "...\"" : "\"");
}

class Arguments {
public:
    Arguments(std::string command, std::string summary) : command_(std::move(command)), summary_(std::move(summary)) {
        add("--help", "", "print this text and stop", [](std::string_view) {});
    }

    /// A heading in --help over the flags declared after it.
    void section(std::string title) { title_ = std::move(title); }

    void toggle(std::string name, bool& target, std::string help) {
        add(std::move(name), "", std::move(help), [&target](std::string_view) { target = true; });
    }
    void text(std::string name, std::string value, std::string& target, std::string help) {
        add(std::move(name), std::move(value), std::move(help), [&target](std::string_view word) { target = word; });
    }
    void text(std::string name, std::string value, std::optional<std::string>& target, std::string help) {
        add(std::move(name), std::move(value), std::move(help), [&target](std::string_view word) { target = word; });
    }
    /// May be given several times.
    void list(std::string name, std::string value, Words& target, std::string help) {
        add(std::move(name), std::move(value), std::move(help),
            [&target](std::string_view word) { target.emplace_back(word); });
    }
    void choice(std::string name, std::vector<std::string_view> choices, std::string& target, std::string help) {
        std::string value, expected;
        for (std::size_t i = 0; i < choices.size(); ++i) {
            value.append(i ? "|" : "").append(choices[i]);
            expected.append(i == 0 ? "" : i + 1 == choices.size() ? " or " : ", ").append(choices[i]);
        }
        add(name, std::move(value), std::move(help), [=, &target](std::string_view word) {
            SMOLVLM_CHECK(std::find(choices.begin(), choices.end(), word) != choices.end(), ValueError, name, " is ",
                          in_quotes(word), ", expected ", expected);
            target = word;
        });
    }
    /// A whole number in [least, most]; Target is an integer or an optional one.
    template <class Target, class Integer>
    void integer(std::string name, Target& target, Integer least, std::type_identity_t<Integer> most,
                 std::string help) {
        add(name, "N", std::move(help), [=, &target](std::string_view word) {
            const auto value = number<Integer>(word);
            SMOLVLM_CHECK(value && *value >= least && *value <= most, ValueError, name, " is ", in_quotes(word),
                          ", expected a whole number from ", least, " to ", most);
            target = static_cast<Target>(*value);
        });
    }
    /// A number in [low, high], or in (low, high] when `low` itself makes no sense.
    void real(std::string name, double& target, double low, double high, bool open, std::string help) {
        add(name, "X", std::move(help), [=, &target](std::string_view word) {
            const auto value = number<double>(word);
            const bool fits = value && std::isfinite(*value) && (open ? *value > low : *value >= low) && *value <= high;
            SMOLVLM_CHECK(fits, ValueError, name, " is ", in_quotes(word), ", expected a number ",
                          open ? "above " : "of at least ", low,
                          std::isfinite(high) ? smolvlm::join(" and at most ", high) : std::string());
            target = *value;
        });
    }
    /// The words that are no flags, each with a name: `A.safetensors B.safetensors`.
    void positional(std::string name, std::string& target, std::string help) {
        positionals_.push_back(
            {std::move(name), "", std::move(help), "", [&target](std::string_view word) { target = word; }, false});
    }

    /// Fills the variables. False: --help was asked for, and nothing else is to be done. Throws ValueError.
    bool parse(const Words& words) {
        for (const std::string& word : words)
            if (word == "--help" || word == "-h") return false;
        std::size_t place = 0;
        for (std::size_t i = 0; i < words.size(); ++i) {
            const std::string_view word = words[i];
            if (!word.starts_with("--") || word == "--") {
                SMOLVLM_CHECK(place < positionals_.size(), ValueError, command_, ": unexpected argument ",
                              in_quotes(word), hint(word));
                positionals_[place++].take(word);
                continue;
            }
            const std::size_t equals = word.find('=');
            Flag* const flag = find(word.substr(0, equals));
            SMOLVLM_CHECK(flag, ValueError, command_, ": unknown flag ", in_quotes(word.substr(0, equals)),
                          hint(word.substr(0, equals)));
            flag->given = true;
            if (flag->value.empty()) {
                SMOLVLM_CHECK(equals == word.npos, ValueError, flag->name, " takes no value, found ",
                              in_quotes(word.substr(equals + 1)));
                flag->take("");
            } else if (equals != word.npos) {
                flag->take(word.substr(equals + 1));
            } else {
                SMOLVLM_CHECK(i + 1 < words.size(), ValueError, flag->name, " needs a value (", flag->value,
                              "), found nothing after it");
                // A forgotten value must not swallow the next flag; a value that looks like one can be given with "=".
                SMOLVLM_CHECK(!find(words[i + 1]), ValueError, flag->name, " needs a value (", flag->value,
                              "), found the flag ", words[i + 1]);
                flag->take(words[++i]);
            }
        }
        SMOLVLM_CHECK(place == positionals_.size(), ValueError, command_, ": ", positionals_[place].name,
                      " is missing; it is ", positionals_[place].help);
        return true;
    }

    bool given(std::string_view name) const {
        for (const Flag& flag : flags_)
            if (flag.name == name) return flag.given;
        return false;
    }

    std::string help() const {
        std::string text = "Usage: " + program_name + " " + command_;
        for (const Flag& flag : positionals_) text += " " + flag.name;
        text += " [flags]\n\n" + summary_ + "\n";
        if (!positionals_.empty()) text += "\n";
        for (const Flag& flag : positionals_) append_entry(text, flag);
        for (std::size_t i = 1; i < flags_.size(); ++i) {
            if (i == 1 || flags_[i].title != flags_[i - 1].title)
                text += "\n" + (flags_[i].title.empty() ? "Flags" : flags_[i].title) + "\n";
            append_entry(text, flags_[i]);
        }
        append_entry(text, flags_[0]);  // --help
        return text;
    }

private:
    struct Flag {
        std::string name, value, help, title;  // value: what stands for it in --help, "" for a toggle
        std::function<void(std::string_view)> take;
        bool given = false;
    };

    void add(std::string name, std::string value, std::string help, std::function<void(std::string_view)> take) {
        flags_.push_back({std::move(name), std::move(value), std::move(help), title_, std::move(take), false});
    }
    Flag* find(std::string_view name) {
        for (Flag& flag : flags_)
            if (flag.name == name) return &flag;
        return nullptr;
    }
    std::string hint(std::string_view word) const {
        std::vector<std::string_view> names;
        for (const Flag& flag : flags_) names.push_back(flag.name);
        const std::string_view near = nearest(word, names);
        return near.empty() ? smolvlm::join("; see ", program_name, " ", command_, " --help")
                            : smolvlm::join("; did you mean ", near, "?");
    }
    template <class Number>
    static std::optional<Number> number(std::string_view word) {
        Number value{};
        const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
        if (error != std::errc{} || end != word.data() + word.size()) return std::nullopt;
        return value;
    }
    /// "  --seed N    help", the help folded at 120 columns.
    static void append_entry(std::string& text, const Flag& flag) {
        constexpr std::size_t indent = 34, width = 120;
        std::string line = "  " + flag.name + (flag.value.empty() ? "" : " " + flag.value) + " ";
        line.resize(std::max(line.size(), indent - 1), ' ');
        for (std::size_t begin = 0; begin < flag.help.size();) {
            const std::size_t end = std::min(flag.help.find(' ', begin), flag.help.size());
            if (line.size() + 1 + (end - begin) > width) {
                text += line + "\n";
                line.assign(indent - 1, ' ');
            }
            line.append(" ").append(flag.help, begin, end - begin);
            begin = end + 1;
        }
        text += line + "\n";
    }

    std::string command_, summary_, title_;
    std::vector<Flag> flags_, positionals_;
};

}  // namespace cli
