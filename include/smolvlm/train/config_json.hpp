#pragma once
/// run.json: read with every key known, of the right type and within its limits; written back; compared; explained.
///
///     run.json: "stepz" is no key of a training configuration; did you mean "steps"?
///     run.json: "lr" is the string "fast", expected a number

#include <smolvlm/io/json.hpp>
#include <smolvlm/io/nearest.hpp>
#include <smolvlm/train/config.hpp>

namespace smolvlm {

namespace detail {

/// Fills a TrainConfig from an object; what it meets in `visit` are the keys that exist.
class ConfigParser {
public:
    ConfigParser(const Json& json, std::string where) : json_(json), where_(std::move(where)) {}

    void section(const char*) {}
    void operator()(const char* key, auto& member, const char*) { take(key, member); }
    void operator()(const char* key, auto& member, Limits limits, const char*) {
        take(key, member);
        SMOLVLM_CHECK(static_cast<double>(member) >= limits.least && static_cast<double>(member) <= limits.most,
                      FormatError, where_, ": \"", key, "\" is ", member, ", expected ",
                      std::isfinite(limits.most) ? join("a number from ", limits.least, " to ", limits.most)
                                                 : join("a number of at least ", limits.least));
    }
    void operator()(const char* key, std::string& member, const std::vector<std::string_view>& choices, const char*) {
        take(key, member);
        std::string expected;
        for (const std::string_view choice : choices) expected += join(expected.empty() ? "" : ", ", '"', choice, '"');
        SMOLVLM_CHECK(std::ranges::count(choices, member) > 0, FormatError, where_, ": \"", key, "\" is ",
                      in_quotes(member), ", expected one of ", expected);
    }
    void refuse_unknown_keys() const {
        for (const auto& [key, value] : json_.items()) {
            if (std::ranges::count(keys_, key) > 0) continue;
            const std::string_view near = nearest(key, keys_);
            fail<FormatError>(
                where_, ": ", in_quotes(key), " is no key of a training configuration; ",
                near.empty() ? std::string("smolvlm train --help lists them") : join("did you mean \"", near, "\"?"));
        }
    }

private:
    template <class T>
    void take(const char* key, T& member) {
        keys_.push_back(key);
        const Json* const value = find(json_, key, where_);
        if (!value) return;
        if constexpr (std::is_same_v<T, std::vector<std::string>>) {
            member.clear();
            for (const Json& item : get_array(json_, key, where_))
                member.push_back(
                    value_as<std::string>(item, join("item ", member.size() + 1, " of \"", key, '"'), where_));
        } else if constexpr (std::is_same_v<T, std::vector<DataSource>>) {
            if (value->is_string()) {
                member.push_back({value->get<std::string>(), 1});
                return;
            }
            for (const Json& item : get_array(json_, key, where_)) {
                const std::string where = join(where_, ": \"", key, "\", item ", member.size() + 1);
                if (item.is_string()) {
                    member.push_back({item.get<std::string>(), 1});
                    continue;
                }
                member.push_back({get<std::string>(item, "path", where), get_or<double>(item, "weight", where, 1.0),
                                  get_or<Index>(item, "max_frames", where, 0)});
                for (const auto& [name, part] : item.items())
                    SMOLVLM_CHECK(name == "path" || name == "weight" || name == "max_frames", FormatError, where, ": ",
                                  in_quotes(name),
                                  " is no key of a data set; expected \"path\", \"weight\" and \"max_frames\"");
                SMOLVLM_CHECK(member.back().max_frames >= 0, FormatError, where, ": \"max_frames\" is ",
                              member.back().max_frames, ", expected the most frames of a video, or 0: the checkpoint's");
                SMOLVLM_CHECK(member.back().weight > 0 && std::isfinite(member.back().weight), FormatError, where,
                              ": \"weight\" is ", member.back().weight, ", expected a positive number");
            }
        } else {
            member = value_as<T>(*value, join('"', key, '"'), where_);
        }
    }

    const Json& json_;
    std::string where_;
    std::vector<std::string_view> keys_;
};

/// Makes an object of every key and value.
struct ConfigWriter {
    Json json = Json::object();

    void section(const char*) {}
    void operator()(const char* key, const auto& member, auto&&...) { json[key] = member; }
    void operator()(const char* key, const std::vector<DataSource>& sources, const char*) {
        for (const DataSource& source : sources)
            json[key].push_back({{"path", source.path}, {"weight", source.weight}, {"max_frames", source.max_frames}});
    }
};

/// One line a key: name, default, meaning.
struct ConfigHelp {
    std::string text;

    void section(const char* title) { text += join('\n', title, '\n'); }
    void operator()(const char* key, const auto& member, const char* meaning) { entry(key, member, meaning); }
    void operator()(const char* key, const auto& member, Limits, const char* meaning) { entry(key, member, meaning); }
    void operator()(const char* key, const auto& member, const std::vector<std::string_view>& choices,
                    const char* meaning) {
        std::string all;
        for (const std::string_view choice : choices) all += join(all.empty() ? "" : " | ", choice);
        entry(key, member, join(all, "; ", meaning));
    }

private:
    template <class T>
    void entry(const char* key, const T& member, const std::string& meaning) {
        std::string value;
        if constexpr (std::is_arithmetic_v<T>) value = join(member);
        if constexpr (std::is_same_v<T, std::string>) value = member.empty() ? "\"\"" : join('"', member, '"');
        if constexpr (std::is_same_v<T, std::vector<std::string>>)
            value = member.empty() ? "[]" : join("[\"", member[0], "\"]");
        if constexpr (std::is_same_v<T, std::vector<DataSource>>) value = "[]";
        constexpr std::size_t indent = 44, width = 120;
        std::string line = join("  ", key);
        line.resize(std::max<std::size_t>(line.size() + 1, 29), ' ');
        line += value;
        line.resize(std::max<std::size_t>(line.size() + 1, indent - 1), ' ');
        for (std::size_t begin = 0; begin < meaning.size();) {
            const std::size_t end = std::min(meaning.find(' ', begin), meaning.size());
            if (line.size() + 1 + (end - begin) > width) {
                text += line + '\n';
                line.assign(indent - 1, ' ');
            }
            line.append(" ").append(meaning, begin, end - begin);
            begin = end + 1;
        }
        text += line + '\n';
    }
};

}  // namespace detail

/// Throws FormatError naming key, found and expected.
inline TrainConfig parse_train_config(const Json& json, const std::string& file) {
    SMOLVLM_CHECK(json.is_object(), FormatError, file, ": expected an object of settings, found ",
                  detail::describe(json));
    TrainConfig config;
    config.folder = file.substr(0, file.rfind('/') + 1);
    detail::ConfigParser parser(json, file);
    TrainConfig::visit(config, parser);
    parser.refuse_unknown_keys();
    SMOLVLM_CHECK(
        config.model.empty() != config.init.empty(), FormatError, file, ": ",
        config.model.empty() ? "neither \"model\" nor \"init\" is given" : "\"model\" and \"init\" are both given",
        ", expected one of them: the folder to start from");
    SMOLVLM_CHECK(config.with_adapters() || !config.model.ends_with(".gguf"), FormatError, file, ": \"model\" is ",
                  in_quotes(config.model), "; a .gguf file can only be trained with adapters (\"lora_rank\")");
    SMOLVLM_CHECK(!config.output.empty(), FormatError, file, ": \"output\" is missing, expected the folder of the run");
    SMOLVLM_CHECK(!config.data.empty(), FormatError, file,
                  ": \"data\" is missing, expected a .jsonl file or a list of them");
    return config;
}
inline TrainConfig read_train_config(const std::string& path) {
    return parse_train_config(parse_json(read_text_file(path, 1 << 20), path), path);
}

/// Every key with its value.
inline Json to_json(const TrainConfig& config) {
    detail::ConfigWriter writer;
    TrainConfig::visit(config, writer);
    return writer.json;
}

/// Throws ValueError naming the first key that a run which goes on from `then` must not change.
inline void check_same_run(const TrainConfig& config, const Json& then, const std::string& where) {
    const Json now = to_json(config);
    for (const auto& [key, value] : now.items()) {
        const Json before = then.contains(key) ? then.at(key) : Json();
        SMOLVLM_CHECK(before == value || may_change_on_resume(key, config), ValueError, where,
                      ": the run was begun with \"", key, "\" ", printable(before.dump(), 200),
                      ", the configuration now says ", printable(value.dump(), 200),
                      "; set it back, or begin a new run in another \"output\" folder");
    }
}

/// The text of `smolvlm train --help` about the keys.
inline std::string describe_train_config() {
    detail::ConfigHelp help;
    const TrainConfig defaults;
    TrainConfig::visit(defaults, help);
    return help.text;
}

}  // namespace smolvlm
