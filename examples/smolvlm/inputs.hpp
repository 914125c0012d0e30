#pragma once
/// What most commands take: a checkpoint, pictures, and a conversation from flags or from a file.

#include <memory>
#include <optional>
#include <smolvlm/checkpoint/checkpoint.hpp>
#include <smolvlm/io/tensor_file.hpp>

#include "args.hpp"

namespace cli {

/// Where the model is.
struct ModelFlags {
    std::string model, mmproj;

    void declare(Arguments& arguments);
    /// Throws ValueError when no --model was given.
    void check() const;
    /// The model in the box, a tiny one that reads printed text, where no --model was given. Says so on standard error.
    void default_to_tiny_reader();
    /// A folder with a tokenizer but without a model.
    bool processor_only() const;
    /// Everything but the weights themselves, which are still on disk.
    smolvlm::Checkpoint open(const smolvlm::WeightsOpened& weights_opened = {}) const;
    /// What the checkpoint's matrices are multiplied in, as --dtype names it; empty where it is not one in panels.
    std::string precision() const;
    /// Tokenizer, chat template and image settings; a folder may hold nothing else.
    smolvlm::Processor open_processor() const;
};

using Parts = std::vector<smolvlm::ContentPart>;

/// Pictures and videos by the names of their files and folders.
struct MediaFlags {
    Words images, videos;
    double fps = 1;  // pictures a second in the folders of videos

    void declare(Arguments& arguments);
    /// Images first.
    Parts parts() const;
};

/// What is done to pictures instead of what the checkpoint says.
struct ImageFlags {
    smolvlm::TileOptions tiles;
    std::optional<smolvlm::Index> max_frames;
    std::string alpha = "drop";

    void declare(Arguments& arguments);
    smolvlm::VideoRule videos(const smolvlm::Processor& processor) const;
    smolvlm::Image load(const std::string& path) const;
    /// One picture after the other: only its frames are kept.
    smolvlm::ProcessedImage process(const smolvlm::ContentPart& picture, const smolvlm::Processor& processor,
                                    int threads) const;
    std::vector<smolvlm::ProcessedImage> process(const Parts& pictures, const smolvlm::Processor& processor,
                                                 int threads = smolvlm::default_threads()) const;
};

/// A conversation as it was asked for: turns, or the prompt's own text.
struct Talk {
    smolvlm::Conversation turns;
    std::string raw;   // with --raw-prompt: read as it is, `<image>` for each picture
    Parts raw_images;

    /// Frames instead of videos.
    Talk opened(const smolvlm::VideoRule& videos) const { return {smolvlm::with_frames(turns, videos), raw, raw_images}; }
    /// In the order of their places.
    Parts pictures() const { return turns.empty() ? raw_images : smolvlm::pictures_of(turns); }
    /// The text before image tokens are written out.
    std::string text(const smolvlm::ChatTemplate& chat_template, bool generation_prompt = true) const {
        return turns.empty() ? raw : chat_template.render(turns, generation_prompt);
    }
};

/// --prompt, --system, --image, --video, --raw-prompt or --chat.
struct ConversationFlags {
    std::optional<std::string> prompt, system;
    MediaFlags media;
    Words chats;
    bool raw = false;

    void declare(Arguments& arguments);
    bool given() const { return prompt || !chats.empty(); }
    /// One for each --chat, or the one of --prompt. Throws ValueError where flags contradict each other.
    std::vector<Talk> talks() const;
};

/// The conversation in a file: {"messages": [{"role": "user", "content": [{"type": "image", "path": "a.png"},
/// {"type": "text", "text": "What is this?"}]}]}, as data/chat_json.hpp reads it, with any role. A path counts from the
/// current folder, or else from the folder of the file. Throws FormatError.
Talk read_chat(const std::string& path);

/// The user's turn: pictures first, as the models were trained.
smolvlm::Message user_message(Parts pictures, std::string text);

/// One line of JSON: a string, or an array of token ids. `where` begins the message of a FormatError.
std::string read_json_string(std::string_view line, std::string_view where);
std::vector<std::int32_t> read_json_ids(std::string_view line, std::string_view where);

/// Tensors in a safetensors file. (JSON is slow to compile, so inputs.cpp is the only file of the program that sees
/// it.)
std::shared_ptr<const smolvlm::TensorFile> open_tensors(const std::string& path);

/// A safetensors file written tensor by tensor, so that they need not all be in memory. It appears when it is complete.
class TensorWriter {
public:
    virtual ~TensorWriter() = default;
    /// The next tensor, whole or piece by piece.
    virtual void write(std::span<const std::byte> bytes) = 0;
    virtual void commit() = 0;
    /// The bytes in `tensors` are not looked at: they follow in this order.
    static std::unique_ptr<TensorWriter> open(const std::string& path,
                                              const std::vector<smolvlm::NamedTensor>& tensors);
};

}  // namespace cli
