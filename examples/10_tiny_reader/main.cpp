// The tiny reader, from nothing to its score: pictures of printed text, drawn without end; a SmolVLM that learns to
// read them; how many of its answers are exact. examples/tiny-reader/ holds the model and the settings of its training.
//
//     10_tiny_reader draw KIND FOLDER               pictures and their questions, to look at or to train on elsewhere
//     10_tiny_reader train --config RUN.json        "data" may be a kind of picture: "ticket.scene"
//     10_tiny_reader score MODEL                    exact answers by kind of question, fonts trained on and held out

#include <map>
#include <smolvlm/data/jsonl.hpp>
#include <smolvlm/image/load_stb.hpp>
#include <smolvlm/image/save_png.hpp>
#include <smolvlm/io/atomic_folder.hpp>
#include <smolvlm/train/config_json.hpp>

#include "../printed_text/scenes.hpp"
#include "../smolvlm/engine.hpp"
#include "../smolvlm/program.hpp"
#include "../smolvlm/training.hpp"

namespace {

using namespace smolvlm;
using cli::Arguments;
using cli::Words;
using printed_text::Scenes;

/// Pictures of one kind. The seed of the training data is 1.
struct SceneFlags {
    std::string photo = "examples/data/photo.jpg";
    Index seed = 2;
    double scale = 1;

    void declare(Arguments& arguments) {
        arguments.text("--photo", "F", photo, "what signs stand before; default " + photo);
        arguments.integer("--seed", seed, Index(0), Index(1) << 40,
                          "other pictures; 1 is what training sees; default 2");
        arguments.real("--scale", scale, 0.5, 16, false, "picture pixels to one of the model's; default 1");
    }
    std::shared_ptr<const Scenes> open(const std::string& kind, bool held_out = false) const {
        const auto fonts =
            printed_text::find_fonts(held_out ? printed_text::held_out_fonts : printed_text::trained_fonts);
        return std::make_shared<const Scenes>(kind, fonts, std::vector{load_image(photo)},
                                              static_cast<std::uint64_t>(seed), scale);
    }
};

/// The first samples of a source as FOLDER/chats.jsonl and pictures beside it.
void write_chats(const SampleSource& source, const std::string& name, Index count, const std::string& folder) {
    make_folder(folder);
    AtomicFile chats(folder + "/chats.jsonl");
    for (Index i = 0; i < count; ++i) {
        const Sample sample = source.sample(i);
        const std::string picture = join(name, "_", i, ".png");
        save_png(folder + "/" + picture, sample.pictures.front());
        std::string line;
        for (const Message& message : sample.chat) {
            line += join(line.empty() ? "" : ", ", R"({"role": ")", message.role, R"(", "content": [)");
            for (const ContentPart& part : message.content)
                line += part.kind == ContentPart::image
                            ? R"({"type": "image", "path": ")" + picture + "\"}, "
                            : R"({"type": "text", "text": )" + cli::json_string(part.value) + "}";
            line += "]}";
        }
        chats.write("{\"messages\": [" + line + "]}\n");
    }
    chats.commit();
}

int draw(const Words& words) {
    SceneFlags flags;
    std::string kind, folder;
    Index count = 12;
    bool held_out = false;
    Arguments arguments("draw", "Draws pictures of printed text and writes them with questions and answers.");
    arguments.positional("KIND", kind, "one of " + Scenes::list_of_kinds());
    arguments.positional("FOLDER", folder, "where chats.jsonl and the pictures go");
    arguments.integer("--count", count, Index(1), Index(1000000), "how many; default 12");
    flags.declare(arguments);
    arguments.toggle("--held-out", held_out, "in the font that is never trained on");
    if (!arguments.parse(words)) return cli::print(arguments.help()), 0;
    write_chats(*flags.open(kind, held_out), kind, count, folder);
    cli::print(join(count, " pictures, and what is asked about them in ", folder, "/chats.jsonl\n"));
    return 0;
}

int train(const Words& words) {
    SceneFlags flags;
    flags.seed = 1;
    std::string config;
    bool resume = false;
    Arguments arguments(
        "train",
        "Trains as smolvlm train does, on pictures that are drawn as they are needed: a data path KIND.scene\n"
        "stands for an endless file of that kind, one of " +
            Scenes::list_of_kinds() + ".");
    arguments.text("--config", "RUN.json", config, "the configuration; smolvlm train --help explains its keys");
    arguments.toggle("--resume", resume, "go on from the newest checkpoint in the output folder");
    flags.declare(arguments);
    if (!arguments.parse(words)) return cli::print(arguments.help()), 0;
    SMOLVLM_CHECK(!config.empty(), ValueError, "--config is missing, expected the .json file that describes the run");
    const SourceOpener chats = chat_files([](const std::string& path) { return load_image(path); });
    const auto open = [&](const std::string& path, const VideoRule& videos) -> std::shared_ptr<const SampleSource> {
        const std::filesystem::path name(path);
        return name.extension() == ".scene" ? flags.open(name.stem()) : chats(path, videos);
    };
    cli::train_model(read_train_config(config), open, resume);
    return 0;
}

// ---- score

/// Questions of one form, whatever row, column or item they ask for.
std::string form_of(const std::string& question) {
    if (question.starts_with("How much is the ") && question != "How much is the total?") return "How much is the ...?";
    if (question.starts_with("Where is ")) return "Where is ... written?";
    std::string form = question;
    for (char& c : form)
        if (c >= '0' && c <= '9') c = '#';
    return form;
}

struct Tally {
    Index asked = 0, exact = 0;
};

/// Asks every question of so many pictures of a kind, each by itself.
std::map<std::string, Tally> ask(cli::Answerer& model, const Scenes& scenes, const std::string& kind, Index pictures,
                                 bool show) {
    TileOptions tiles;
    tiles.no_split = kind.ends_with("frame") || kind.ends_with("easy");
    AnswerOptions options;
    options.max_new_tokens = 120;
    std::map<std::string, Tally> tallies;
    for (Index i = 0; i < pictures; ++i) {
        const Sample sample = scenes.sample(i);
        for (std::size_t m = 0; m + 1 < sample.chat.size(); m += 2) {
            const std::string question = sample.chat[m].content.back().value;
            const std::string expected = sample.chat[m + 1].content.front().value;
            const ContentPart picture{ContentPart::image, scenes.where(i)};
            const Message message("user", {picture, {ContentPart::text, question}});
            std::string found = model.answer({message}, sample.pictures, tiles, options).text;
            if (found.starts_with(' ')) found.erase(0, 1);  // "Assistant: A7"
            Tally& tally = tallies[form_of(question)];
            ++tally.asked;
            tally.exact += found == expected;
            if (show && found != expected)
                cli::report(join(scenes.where(i), ": ", question, " ", cli::json_string(expected), ", answered ",
                                 cli::json_string(found)));
        }
    }
    return tallies;
}

int score(const Words& words) {
    SceneFlags flags;
    cli::ModelFlags model;
    cli::EngineFlags engine;
    Index pictures = 200;
    Words kinds;
    bool show = false;
    Arguments arguments("score",
                        "Asks a model about pictures that it has never seen and counts the answers that are exact.");
    arguments.positional("MODEL", model.model, "the folder of the model");
    arguments.list("--kind", "KIND", kinds, "only these; one of " + Scenes::list_of_kinds());
    arguments.integer("--pictures", pictures, Index(1), Index(1000000), "of every kind; default 200");
    arguments.toggle("--show-errors", show, "every wrong answer on standard error");
    flags.declare(arguments);
    if (!arguments.parse(words)) return cli::print(arguments.help()), 0;
    if (kinds.empty())
        kinds = {"plain_ticket", "plain_serial", "plain_receipt", "plain_label", "plain_sign", "plain_display"};
    SMOLVLM_CHECK(flags.seed != 1, ValueError, "--seed 1 is what training sees; take another");

    engine.resolve(model);
    const auto backend = cli::make_engine(engine);
    const auto answerer = backend->open(model);
    cli::print("| picture | question | fonts | asked | exact |\n|---|---|---|---|---|\n");
    for (const std::string& kind : kinds)
        for (const bool held_out : {false, true})
            for (const auto& [form, tally] : ask(*answerer, *flags.open(kind, held_out), kind, pictures, show)) {
                char share[32];
                std::snprintf(share, sizeof share, "%.1f %%",
                              100 * static_cast<double>(tally.exact) / static_cast<double>(tally.asked));
                cli::print(join("| ", kind, " | ", form, " | ", held_out ? "held out" : "trained", " | ", tally.asked,
                                " | ", share, " |\n"));
            }
    return 0;
}

}  // namespace

constexpr cli::Command commands[] = {
    {"draw", "pictures of printed text with questions and answers", draw},
    {"train", "a model learns to read them", train},
    {"score", "how many of a model's answers are exact", score},
};

int main(int count, char** arguments) { return cli::run_program("10_tiny_reader", commands, count, arguments); }
