#pragma once
/// A tokenizer.json read as it is parsed: the vocabulary and the merges, a hundred thousand values, go straight into a
/// TokenizerSpec, and only the rest becomes Json. A third of the time of making values of them all.
///
/// What is not quite as expected ends the reading, and the caller makes values after all: those say what is wrong.

#include <optional>
#include <smolvlm/io/json.hpp>
#include <smolvlm/tokenizer/tokenizer.hpp>

namespace smolvlm::detail {

/// The events of Json::sax_parse; false ends it.
class TokenizerEvents {
public:
    Json rest;           // everything else, with empty lists in place of these two
    TokenizerSpec spec;  // vocab and merges

    bool null() { return value(nullptr); }
    bool boolean(bool x) { return value(x); }
    bool number_integer(Json::number_integer_t x) { return value(x); }
    bool number_float(Json::number_float_t x, const std::string&) { return value(x); }
    bool binary(Json::binary_t&) { return false; }
    bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) { return false; }

    bool number_unsigned(Json::number_unsigned_t x) {
        if (within_ != vocab) return value(x);
        if (x >= static_cast<std::uint64_t>(Tokenizer::max_ids)) return false;
        if (x >= spec.vocab.size()) spec.vocab.resize(x + 1);
        if (!spec.vocab[x].empty()) return false;
        spec.vocab[x] = std::move(key_);
        return true;
    }
    bool string(std::string& x) {
        if (within_ == pair) {
            if (sides_ == 2) return false;
            auto& [left, right] = spec.merges.back();
            (sides_++ == 0 ? left : right) = std::move(x);
            return true;
        }
        if (within_ != merges) return value(std::move(x));
        const std::size_t space = x.find(' ');
        if (space == x.npos || x.find(' ', space + 1) != x.npos) return false;
        spec.merges.emplace_back(x.substr(0, space), x.substr(space + 1));
        return true;
    }
    bool key(std::string& x) {
        key_ = std::move(x);
        return true;
    }
    bool start_object(std::size_t) {
        if (!open(Json::object())) return false;
        if (in_model() && key_ == "vocab") within_ = vocab;
        return true;
    }
    bool start_array(std::size_t) {
        if (within_ == merges) {
            within_ = pair, sides_ = 0;
            spec.merges.emplace_back();
            return true;
        }
        if (!open(Json::array())) return false;
        if (in_model() && key_ == "merges") within_ = merges;
        return true;
    }
    bool end_object() { return close(); }
    bool end_array() {
        if (within_ != pair) return close();
        within_ = merges;
        return sides_ == 2;
    }

private:
    enum Within { elsewhere, vocab, merges, pair };

    /// Whether what was just opened is a member of the member "model".
    bool in_model() const { return stack_.size() == 3 && stack_[0]->is_object() && stack_[1] == model(); }
    const Json* model() const {
        const auto found = rest.find("model");
        return found == rest.end() ? nullptr : &*found;
    }
    bool value(Json x) { return add(std::move(x)) != nullptr; }
    Json* add(Json x) {
        if (within_ != elsewhere) return nullptr;
        if (stack_.empty()) return &(rest = std::move(x));
        Json& outer = *stack_.back();
        if (outer.is_array()) return outer.push_back(std::move(x)), &outer.back();
        // A key that comes twice takes its last value, which events of the first have passed by.
        const auto [place, is_new] = outer.emplace(key_, std::move(x));
        return is_new ? &*place : nullptr;
    }
    bool open(Json x) {
        constexpr std::size_t deepest = 200;  // as parse_json
        Json* const opened = stack_.size() < deepest ? add(std::move(x)) : nullptr;
        if (opened) stack_.push_back(opened);
        return opened;
    }
    bool close() {
        within_ = elsewhere;
        stack_.pop_back();
        return true;
    }

    std::vector<Json*> stack_;
    std::string key_;
    Within within_ = elsewhere;
    int sides_ = 0;  // of the pair that have come
};

}  // namespace smolvlm::detail
