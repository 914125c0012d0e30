#include "inputs.hpp"

#include <sys/stat.h>

#include <smolvlm/checkpoint/gguf_pair.hpp>
#include <smolvlm/checkpoint/hf_folder.hpp>
#include <smolvlm/data/chat_json.hpp>
#include <smolvlm/image/load_stb.hpp>

#include "console.hpp"

namespace cli {

using namespace smolvlm;

void ModelFlags::declare(Arguments& arguments) {
    arguments.text("--model", "DIR|F.gguf", model,
                   "the checkpoint: a Hugging Face folder, or the GGUF file of a text model");
    arguments.text("--mmproj", "F.gguf", mmproj,
                   "with a GGUF model: the file of its vision tower; without it text only");
}

void ModelFlags::check() const {
    SMOLVLM_CHECK(!model.empty(), ValueError, "--model is missing, expected a Hugging Face folder or a .gguf file");
}

void ModelFlags::default_to_tiny_reader() {
#ifdef SMOLVLM_TINY_READER
    if (!model.empty() || ::access(SMOLVLM_TINY_READER "/model.safetensors", R_OK) != 0) return;
    model = SMOLVLM_TINY_READER;
    report(
        "no --model: the tiny reader answers. It reads printed capitals and digits; ask \"Read all the text.\", \"What is "
        "written in row 1, column 2?\", \"How much is the total?\"");
#endif
}

namespace {

bool is_gguf(const std::string& path) { return path.ends_with(".gguf"); }
bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

}  // namespace

bool ModelFlags::processor_only() const {
    return !is_gguf(model) && !exists(model + "/config.json") && exists(model + "/tokenizer.json");
}

Checkpoint ModelFlags::open(const WeightsOpened& weights_opened) const {
    check();
    if (is_gguf(model)) return open_gguf_pair(model, mmproj, weights_opened);
    SMOLVLM_CHECK(mmproj.empty(), ValueError, "--mmproj goes with a .gguf model, --model is ", model);
    struct stat status {};
    SMOLVLM_CHECK(::stat(model.c_str(), &status) == 0, ValueError, model, ": cannot be opened: ", std::strerror(errno));
    SMOLVLM_CHECK(S_ISDIR(status.st_mode), ValueError, model,
                  ": is no folder and no .gguf file, expected a Hugging Face folder or the GGUF file of a text model");
    return open_hf_folder(model, weights_opened);
}

std::string ModelFlags::precision() const {
    if (is_gguf(model) || !exists(model + "/config.json")) return {};
    const IntegerFormat precision = read_precision(model);
    return precision == IntegerFormat::none ? "" : join(precision);
}

Processor ModelFlags::open_processor() const {
    check();
    return processor_only() ? read_processor(model) : open().processor;
}

void ImageFlags::declare(Arguments& arguments) {
    arguments.section("Pictures (by default exactly as the checkpoint's own processor treats them)");
    arguments.integer("--longest-edge", tiles.longest_edge, 1, 4096,
                      "resize the longest side to N pixels instead of the checkpoint's number");
    arguments.integer("--max-tiles", tiles.max_tiles, 1, 1024,
                      "at most N tiles a picture, the global frame not counted");
    arguments.toggle("--no-split", tiles.no_split, "one frame a picture, no tiles");
    arguments.toggle("--no-upscale", tiles.no_upscale, "small pictures are not enlarged beyond whole tiles");
    arguments.integer("--max-frames", max_frames, 1, 65536,
                      "of a video at most N frames are read instead of the checkpoint's number");
    arguments.choice("--alpha", {"drop", "white"}, alpha,
                     "transparent pixels: their own colour, or over white (default drop)");
}

Image ImageFlags::load(const std::string& path) const {
    SMOLVLM_CHECK(!path.empty(), ValueError, "the name of a picture is empty, expected a file");
    return load_image(path, {.alpha = alpha == "white" ? Alpha::white : Alpha::drop});
}

VideoRule ImageFlags::videos(const Processor& processor) const {
    VideoRule rule = processor.video;
    rule.max_frames = max_frames.value_or(rule.max_frames);
    return rule;
}

ProcessedImage ImageFlags::process(const ContentPart& picture, const Processor& processor, int threads) const {
    SMOLVLM_CHECK(processor.has_images(), ValueError, "this model reads text only");
    return process_image(load(picture.value), processor.image, processor.tiles_of(picture.kind, tiles), threads);
}

std::vector<ProcessedImage> ImageFlags::process(const Parts& pictures, const Processor& processor, int threads) const {
    SMOLVLM_CHECK(processor.has_images() || pictures.empty(), ValueError, "this model reads text only, but ",
                  pictures.size(), " picture(s) were given");
    std::vector<ProcessedImage> images;
    for (const ContentPart& picture : pictures) images.push_back(process(picture, processor, threads));
    return images;
}

void MediaFlags::declare(Arguments& arguments) {
    arguments.list("--image", "FILE", images, "a picture: PNG, JPEG, BMP or GIF; may be given several times");
    arguments.list("--video", "FOLDER", videos,
                   "a video: the pictures in a folder, in the order of their names; may be given several times");
    arguments.real("--fps", fps, 0.001, 1000, false, "pictures a second in the folders of --video (default 1)");
}

Parts MediaFlags::parts() const {
    Parts parts;
    for (const std::string& path : images) parts.push_back({ContentPart::image, path});
    for (const std::string& path : videos) parts.push_back({ContentPart::video, path, fps});
    return parts;
}

void ConversationFlags::declare(Arguments& arguments) {
    arguments.section("Conversation");
    media.declare(arguments);
    arguments.text("--prompt", "TEXT", prompt, "what the user says, after pictures and videos");
    arguments.text("--system", "TEXT", system, "what the system message says");
    arguments.list(
        "--chat", "F.json", chats,
        "a whole conversation instead: {\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image\", "
        "\"path\": \"a.png\"}, {\"type\": \"text\", \"text\": \"What is this?\"}]}]}");
    arguments.toggle("--raw-prompt", raw,
                     "--prompt is the whole prompt, read as it is, with one <image> for each --image");
}

std::vector<Talk> ConversationFlags::talks() const {
    if (!chats.empty()) {
        SMOLVLM_CHECK(
            !prompt && !system && media.parts().empty() && !raw, ValueError,
            "--chat holds the whole conversation; --prompt, --system, --image, --video and --raw-prompt do not go with "
            "it");
        std::vector<Talk> talks;
        for (const std::string& path : chats) talks.push_back(read_chat(path));
        return talks;
    }
    SMOLVLM_CHECK(prompt, ValueError, "--prompt or --chat is missing, expected what the user says");
    if (raw) {
        SMOLVLM_CHECK(!system && media.videos.empty(), ValueError,
                      "--raw-prompt takes --prompt as the whole prompt; --system and --video do not go with it");
        return {Talk{{}, *prompt, media.parts()}};
    }
    Talk talk;
    if (system) talk.turns.emplace_back("system", *system);
    talk.turns.push_back(user_message(media.parts(), *prompt));
    return {talk};
}

Message user_message(Parts pictures, std::string text) {
    Message message("user", std::move(pictures));
    message.content.push_back({ContentPart::text, std::move(text)});
    return message;
}

namespace {

/// The path as the current folder sees it, or else as the chat file's folder does.
std::string find_picture(const std::string& path, const std::string& chat) {
    const std::size_t slash = chat.rfind('/');
    if (path.starts_with('/') || slash == chat.npos || exists(path)) return path;
    const std::string beside = chat.substr(0, slash + 1) + path;
    return exists(beside) ? beside : path;
}

}  // namespace

Talk read_chat(const std::string& path) {
    constexpr Index max_bytes = 64 << 20;
    const Json json = parse_json(read_text_file(path, max_bytes), path);
    Talk talk{parse_chat(json, path, Roles::any), {}, {}};
    for (Message& message : talk.turns)
        for (ContentPart& part : message.content)
            if (part.kind != ContentPart::text) part.value = find_picture(part.value, path);
    return talk;
}

std::string read_json_string(std::string_view line, std::string_view where) {
    return value_as<std::string>(parse_json(line, where), "the value", where);
}

std::vector<std::int32_t> read_json_ids(std::string_view line, std::string_view where) {
    const Json value = parse_json(line, where);
    SMOLVLM_CHECK(value.is_array(), FormatError, where, ": expected an array of token ids, found ",
                  smolvlm::detail::describe(value));
    std::vector<std::int32_t> ids;
    for (const Json& entry : value) {
        const Index id = value_as<Index>(entry, join("element ", ids.size()), where);
        SMOLVLM_CHECK(id >= 0 && id <= std::numeric_limits<std::int32_t>::max(), ValueError, where, ": element ",
                      ids.size(), " is ", id, ", expected a token id, 0 or more");
        ids.push_back(static_cast<std::int32_t>(id));
    }
    return ids;
}

std::shared_ptr<const TensorFile> open_tensors(const std::string& path) {
    return std::make_shared<const Safetensors>(Safetensors::open(path));
}

namespace {

struct SafetensorsFile : TensorWriter {
    SafetensorsWriter writer;

    SafetensorsFile(const std::string& path, const std::vector<NamedTensor>& tensors) : writer(path, tensors) {}
    void write(std::span<const std::byte> bytes) override { writer.write(bytes); }
    void commit() override { writer.commit(); }
};

}  // namespace

std::unique_ptr<TensorWriter> TensorWriter::open(const std::string& path, const std::vector<NamedTensor>& tensors) {
    return std::make_unique<SafetensorsFile>(path, tensors);
}

}  // namespace cli
